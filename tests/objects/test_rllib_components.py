"""RLlib's components in our trees, and ours in RLlib's."""

import os
from dataclasses import asdict

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Weights
from tune_ckpt.errors import ConstructorError, RestoreError

pytestmark = pytest.mark.slow  # RLlib takes seconds to import
FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


@pytest.fixture(scope="module")
def make_module():
    """Make an RLModule of RLlib's PPO, with random weights."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import gymnasium as gym
    from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
    from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import (
        DefaultPPOTorchRLModule,
    )
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    def make(hidden=8, *, inference_only=False):
        return DefaultPPOTorchRLModule(
            observation_space=gym.spaces.Box(-1, 1, (3,), np.float32),
            action_space=gym.spaces.Discrete(2),
            model_config=asdict(DefaultModelConfig(fcnet_hiddens=[hidden])),
            catalog_class=PPOCatalog,
            inference_only=inference_only,
        )

    return make


@pytest.fixture(scope="module")
def make_modules(make_module):
    """Make RLlib's own container of several modules."""
    from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule

    def make(*names):
        both = MultiRLModule()
        for name in names:
            both.add_module(name, make_module())
        return both

    return make


def same(a, b):
    mine, other = a.get_state(), b.get_state()
    return mine.keys() == other.keys() and all(
        np.array_equal(mine[name], other[name]) for name in mine
    )


class Owner(Weights):
    """Ours, with a component that may be RLlib's."""

    def __init__(self, part=None):
        super().__init__(2)
        self.part = part

    def get_checkpointable_components(self):
        return [("part", self.part)]


@FORMATS
def test_a_module_in_our_tree(make_module, tmp_path, use_msgpack):
    saved, target = Owner(make_module()), Owner(make_module())
    assert not same(saved.part, target.part)
    saved.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    target.restore_from_path(tmp_path / "c", allow_pickle=not use_msgpack)
    assert same(saved.part, target.part)
    assert tc.verify(tmp_path / "c").ok


@FORMATS
def test_a_container_of_modules_in_our_tree(make_modules, tmp_path, use_msgpack):
    saved, target = Owner(make_modules("a", "b")), Owner(make_modules("a", "b"))
    saved.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    report = target.restore_from_path(tmp_path / "c", components=["part/b"])
    assert report.loaded == ("part/b",)
    assert same(saved.part["b"], target.part["b"])
    assert not same(saved.part["a"], target.part["a"])


def test_rllib_itself_opens_its_module_in_our_pickle_tree(make_module, tmp_path):
    from ray.rllib.core.rl_module.rl_module import RLModule

    saved = Owner(make_module())
    saved.save_to_path(tmp_path / "c")
    assert same(RLModule.from_checkpoint(tmp_path / "c" / "part"), saved.part)


@FORMATS
def test_a_module_of_which_rllib_wrote_the_checkpoint(make_module, tmp_path, use_msgpack):
    saved, target = make_module(), make_module()
    saved.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    Owner(target).restore_from_path(tmp_path / "c", component="part")
    assert same(saved, target)


def test_what_of_its_arguments_msgpack_cannot_hold_is_left_out(make_module, tmp_path):
    Owner(make_module()).save_to_path(tmp_path / "c", use_msgpack=True)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".pkl"]
    from tune_ckpt.formats import msgpack as typed

    ctor = typed.loads((tmp_path / "c" / "part" / "class_and_ctor_args.msgpack").read_bytes())
    assert ctor["left_out"] == ["observation_space", "action_space"]
    assert ctor["ctor_args_and_kwargs"][1]["inference_only"] is False


@FORMATS
def test_a_module_is_made_again_from_its_part_of_our_tree(make_module, tmp_path, use_msgpack):
    saved = make_module()
    Owner(saved).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    spaces = {name: getattr(saved, name) for name in ("observation_space", "action_space")}
    trusted = ["ray.rllib", "gymnasium", "numpy"]
    found = tc.restore_object(
        tmp_path / "c" / "part",
        type(saved),
        **spaces,
        trusted=trusted,
        allow_pickle=not use_msgpack,
    )
    assert same(found, saved)
    if use_msgpack:
        with pytest.raises(ConstructorError, match="left out: observation_space, action_space"):
            tc.restore_object(tmp_path / "c" / "part", type(saved), trusted=trusted)


def test_a_module_with_other_arrays_does_not_fit(make_module, tmp_path):
    Owner(make_module()).save_to_path(tmp_path / "c", use_msgpack=True)
    target = Owner(make_module(hidden=16))
    before = {name: array.copy() for name, array in target.part.get_state().items()}
    with pytest.raises(RestoreError, match=r"part/pi\..*: shape") as caught:
        target.restore_from_path(tmp_path / "c")
    assert len(caught.value.report.mismatched) > 3
    assert all(np.array_equal(before[name], now) for name, now in target.part.get_state().items())


def test_a_module_for_inference_takes_its_part_of_a_whole_one(make_module, tmp_path):
    whole, part = make_module(), make_module(inference_only=True)
    assert len(part.get_state()) < len(whole.get_state())
    tc.save({"policy": whole}, tmp_path / "whole")
    assert tc.restore({"policy": part}, tmp_path / "whole").report.ok
    assert all(np.array_equal(array, whole.get_state()[n]) for n, array in part.get_state().items())
    tc.save({"policy": part}, tmp_path / "part")
    with pytest.raises(RestoreError, match=r"policy/vf\..*: missing"):
        tc.restore({"policy": whole}, tmp_path / "part")


def _rllibs(part):
    """A component of RLlib's base class with one of ours in it, which has that part."""
    from ray.rllib.utils.checkpoints import Checkpointable

    class Theirs(Checkpointable):
        ours = Owner(part)

        def get_state(self, components=None, *, not_components=None, **kwargs):
            state = {}
            if self._check_component("ours", components, not_components):
                state["ours"] = {**self.ours.get_state(), "part": self.ours.part.get_state()}
            return state

        def set_state(self, state):
            pass

        def get_ctor_args_and_kwargs(self):
            return (), {}

        def get_checkpointable_components(self):
            return [("ours", self.ours)]

    return Theirs()


@FORMATS
def test_ours_in_rllibs_tree(make_module, tmp_path, use_msgpack):
    saved, target, alone = (_rllibs(make_module()) for _ in range(3))
    saved.ours.w = np.array([5.0, 6.0])
    saved.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    assert tc.verify(tmp_path / "c" / "ours").ok
    target.restore_from_path(tmp_path / "c")
    assert target.ours.w.tolist() == [5, 6]
    assert same(target.ours.part, saved.ours.part)
    alone.restore_from_path(tmp_path / "c" / "ours" / "part", component="ours/part")
    assert same(alone.ours.part, saved.ours.part)
    assert not alone.ours.w.any()


# ------------------------------------------------------------------------------ a whole Algorithm


@pytest.fixture(scope="module")
def build(ray_session):
    """Build Algorithms with so many actors."""
    from ray.rllib.algorithms.ppo import PPOConfig

    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .training(train_batch_size=64, minibatch_size=32, num_epochs=1)
    )
    built = []

    def build(actors):
        runners = {"num_env_runners": actors, "num_cpus_per_env_runner": 0}
        built.append(config.copy().env_runners(**runners).build_algo())
        return built[-1]

    yield build
    for algorithm in built:
        algorithm.stop()


def _weights(algorithm):
    """What learns, and what samples in the actors."""
    samples = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.module.get_state(), local_env_runner=False
    )
    return algorithm.learner_group.get_weights()["default_policy"], *samples


def test_an_algorithm_in_our_tree_and_what_its_actors_know(build, tmp_path):
    trained, target = build(0), build(1)
    for use_msgpack in (False, True):
        trained.train()
        _check_restored(trained, target, tmp_path / "c", use_msgpack)
    assert target.iteration == 2


def _check_restored(trained, target, path, use_msgpack):
    Owner(trained).save_to_path(path, use_msgpack=use_msgpack)
    report = Owner(target).restore_from_path(path, allow_pickle=not use_msgpack)
    assert "part/learner_group/learner/rl_module/default_policy" in report.loaded
    (learnt, *_), (found, *samples) = _weights(trained), _weights(target)
    np.testing.assert_equal(found, learnt)
    assert samples
    for sample in samples:
        np.testing.assert_equal(sample, {name: learnt[name] for name in sample})
    assert target.iteration == trained.iteration
