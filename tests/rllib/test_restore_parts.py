"""Policies, modules and Algorithms out of checkpoints of any age, without unpickling anything."""

import json
import shutil

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from tests.rllib.cases import COMMITTED, one
from tests.rllib.own_policies import CHOICE, TORQUE, VECTOR, new_module
from tune_ckpt.errors import (
    ClassNotFoundError,
    ComponentNotFoundError,
    InvalidArgumentError,
    NotInCheckpointError,
    RestoreError,
    RestoreWarning,
)
from tune_ckpt.rllib import (
    export_bundle,
    load_weights,
    restore_algorithm,
    restore_module,
    restore_policy,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # RLlib's own, by the dozen

OLD = [case for case in COMMITTED if "-old-" in case.name]
NEW = [case for case in COMMITTED if "-new" in case.name or "-hybrid-" in case.name]

NEW_MULTI, OLD_MULTI = one("ray2.60.0-py3.13"), one("ray2.10.0-py3.10-old-ppo-multi")


def _outputs(case, name):
    files = case.outputs
    ends = ("logits", "model_out", "action_dist_inputs", "inference/actions")
    return next(files[key] for key in files if key.startswith(f"{name}/") and key.endswith(ends))


def _names(case):
    return sorted({key.partition("/")[0] for key in case.outputs})


def _close(found, expected):
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", NEW, ids=lambda case: case.name)
def test_a_module_of_any_version_gives_the_outputs_that_its_own_ray_gave(case):
    import torch

    for name in _names(case):
        module = restore_module(case.path, None if name == "__module__" else name)
        with torch.no_grad():
            found = module.forward_inference({"obs": torch.from_numpy(case.observations)})
        _close(found["action_dist_inputs"], _outputs(case, name))
        assert module.restore_report.ok


@pytest.mark.parametrize("case", OLD, ids=lambda case: case.name)
def test_a_policy_of_any_version_gives_the_outputs_that_its_own_ray_gave(case):
    import torch

    for name in _names(case):
        policy = restore_policy(case.path, None if name == "__policy__" else name)
        with torch.no_grad():
            found = policy.model({"obs": torch.from_numpy(case.observations)})[0]
        _close(found, _outputs(case, name))
        assert policy.restore_report.ok


def test_a_policy_has_its_optimizer_and_counters_again():
    policy = restore_policy(OLD_MULTI.path, "pol1")
    (optimizer,) = policy._optimizers
    assert len(optimizer.state_dict()["state"]) == 12
    assert policy.global_timestep == 119
    lost = {fault.path for fault in policy.restore_report.left_out}
    assert "policy_mapping_fn" in lost


OLDEST = one("synthetic-v0.1")
OLDEST_MODEL = {"fcnet_hiddens": [8, 8], "vf_share_layers": False}


def test_the_oldest_versions_model_is_told_by_its_weights():
    policy = restore_policy(OLDEST.path)
    np.testing.assert_equal(policy.get_weights(), load_weights(OLDEST.path))
    (assumed,) = policy.restore_report.left_out
    assert "params.pkl" in str(assumed)
    assert restore_policy(OLDEST.path, config={"model": OLDEST_MODEL}).restore_report.ok
    with pytest.raises(RestoreError, match=r"_value_branch_separate.*unexpected"):
        restore_policy(OLDEST.path, config={"model": {**OLDEST_MODEL, "vf_share_layers": True}})


def test_the_oldest_versions_configuration_is_what_tune_wrote_beside_it(tmp_path, ray_session):
    shutil.copytree(OLDEST.path, tmp_path / "trial" / "checkpoint_10")
    model = {**OLDEST_MODEL, "fcnet_activation": "relu"}
    told = {"model": model, "framework": "torch", "env": "CartPole-v1", "lr": 0.003}
    (tmp_path / "trial" / "params.json").write_text(json.dumps({**told, "num_workers": 0}))
    policy = restore_policy(tmp_path / "trial" / "checkpoint_10")
    assert policy.config["model"]["fcnet_activation"] == "relu"
    algorithm = restore_algorithm(tmp_path / "trial" / "checkpoint_10")
    assert (algorithm.iteration, algorithm.config.lr) == (10, 0.003)
    np.testing.assert_equal(algorithm.get_policy().get_weights(), load_weights(OLDEST.path))
    algorithm.stop()


def test_settings_of_ones_own_take_the_place_of_stored_ones(ray_session):
    told = {"lr": 0.25, "num_workers": 0, "model": {"fcnet_activation": "relu"}}
    algorithm = restore_algorithm(OLDEST.path, env="CartPole-v1", config=told)
    assert algorithm.config.lr == 0.25
    assert algorithm.config.model["fcnet_activation"] == "relu"
    np.testing.assert_equal(algorithm.get_policy().get_weights(), load_weights(OLDEST.path))
    algorithm.stop()
    with pytest.raises(InvalidArgumentError, match=r"config='nonsense'.*PPOConfig"):
        restore_algorithm(OLDEST.path, env="CartPole-v1", config={"nonsense": 1})


def test_an_algorithm_of_the_oldest_version_needs_its_environment_only(ray_session):
    with pytest.raises(NotInCheckpointError, match="pass env="):
        restore_algorithm(OLDEST.path)
    algorithm = restore_algorithm(OLDEST.path, env="CartPole-v1")
    assert algorithm.iteration == 10
    np.testing.assert_equal(algorithm.get_policy().get_weights(), load_weights(OLDEST.path))
    assert "params.pkl" in str(algorithm.restore_report.left_out[0])
    algorithm.stop()


def test_weights_that_do_not_fit_are_taken_as_far_as_wished():
    path = one("ray2.43.0").path
    config = {"fcnet_hiddens": [8, 9], "vf_share_layers": True}
    with pytest.raises(RestoreError, match=r"mlp\.2\.weight: shape \(8, 8\) in the checkpoint"):
        restore_module(path, model_config=config)
    with pytest.warns(RestoreWarning):
        module = restore_module(path, model_config=config, strict="warn")
    found = module.state_dict()["encoder.encoder.net.mlp.0.weight"].numpy()
    np.testing.assert_equal(found, load_weights(path)["encoder.encoder.net.mlp.0.weight"])
    assert not module.restore_report.ok


@pytest.mark.parametrize("kind", ["APPO", "IMPALA", "BC", "MARWIL", "DQN", "SAC", "CQL", "IQL"])
def test_modules_of_every_algorithm_are_restored(tmp_path, kind):
    actions = TORQUE if kind in ("SAC", "CQL", "IQL") else CHOICE
    module = new_module(kind, VECTOR, actions, {"fcnet_hiddens": [7, 6]})
    if hasattr(module, "make_target_networks"):
        module.make_target_networks()
    module.save_to_path(str(tmp_path / "m"))
    found = restore_module(tmp_path / "m").get_state()
    np.testing.assert_equal(found, module.get_state())


def test_a_world_model_is_restored_and_its_export_refused(tmp_path):
    module = new_module("DreamerV3", VECTOR, CHOICE, {"model_size": "nano"})
    module.save_to_path(str(tmp_path / "m"))
    found = restore_module(tmp_path / "m")
    np.testing.assert_equal(found.get_state(), module.get_state())  # some are numbers
    with pytest.raises(NotInCheckpointError, match=r"DreamerV3.*restore_module"):
        export_bundle(tmp_path / "m", tmp_path / "b")


def test_what_only_training_needs_is_left_out_on_request(tmp_path):
    module = new_module("SAC", VECTOR, TORQUE, {"fcnet_hiddens": [7, 6]})
    module.save_to_path(str(tmp_path / "m"))
    found = restore_module(tmp_path / "m", inference_only=True)
    expected = module.state_dict()["pi.net.mlp.0.weight"].numpy()
    np.testing.assert_equal(found.state_dict()["pi.net.mlp.0.weight"].numpy(), expected)
    (left_out,) = found.restore_report.left_out
    assert "qf_encoder" in str(left_out)


def _renamed(path, tmp_path, file, *names):
    """A copy of a checkpoint in which a class has another name."""
    shutil.copytree(path, tmp_path / "c")
    (found,) = (tmp_path / "c").rglob(file)
    found.write_bytes(found.read_bytes().replace(*map(_with_length, names)))
    return tmp_path / "c"


def _with_length(name):
    """A text as a pickle has it."""
    return b"\x8c" + bytes([len(name)]) + name


def test_a_catalog_that_is_gone_is_the_modules_own(tmp_path):
    path = one("ray2.40.0-py3.10-new-ppo-single_module").path
    catalog, file = b"ray.rllib.algorithms.ppo.ppo_catalog", "class_and_ctor_args.pkl"
    moved = _renamed(path, tmp_path, file, catalog, catalog.replace(b"ppo.ppo", b"ppo.old"))
    np.testing.assert_equal(load_weights(moved), load_weights(path))
    assert restore_module(moved).restore_report.ok


def test_a_policy_of_a_removed_algorithm_is_the_one_with_its_models(tmp_path):
    path = one("ray2.3.1-py3.8-old-ppo-single_policy").path
    moved = _renamed(path, tmp_path, "policy_state.pkl", b"PPOTorchPolicy", b"A2CTorchPolicy")
    policy = restore_policy(moved)
    np.testing.assert_equal(policy.get_weights(), load_weights(path))
    assert any("no A2CTorchPolicy" in str(fault) for fault in policy.restore_report.left_out)


def test_a_removed_algorithm_says_what_can_be_done(tmp_path):
    path = one("ray2.3.1-py3.8-old-ppo-single_policy").path
    moved = _renamed(path, tmp_path, "policy_state.pkl", b"PPOTorchPolicy", b"DDPGTorchPolicy")
    with pytest.raises(NotInCheckpointError, match=r"Ray removed DDPG in 2.11; load_weights"):
        restore_policy(moved)


def test_a_policy_that_is_a_module_inside_is_restored_as_that(tmp_path):
    case = one("ray2.7.1-py3.9-hybrid-ppo-single")
    path = case.path / "policies" / "default_policy"
    with pytest.raises(NotInCheckpointError, match="see restore_module"):
        restore_policy(path)
    module = restore_module(path)
    found = {name: value.numpy() for name, value in module.state_dict().items()}
    stored = load_weights(path)
    np.testing.assert_equal({name: found[name] for name in stored}, stored)


def test_nothing_is_unpickled_without_trust(tmp_path, monkeypatch):
    import pickle

    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads"):
        monkeypatch.setattr(pickle, name, refuse)
    restore_module(NEW_MULTI.path, "p0")
    restore_policy(one("ray2.3.1-py3.8-old-ppo-single_policy").path)


def test_a_trusted_pickle_is_what_rllib_itself_reads():
    path = one("ray2.60.0-py3.11-new-ppo-single-meanstd").path
    module = restore_module(path, allow_pickle=True)
    np.testing.assert_equal(
        {name: value.numpy() for name, value in module.state_dict().items()}, load_weights(path)
    )


def test_what_is_not_there_says_so():
    with pytest.raises(ComponentNotFoundError, match=r"'p7'.*p0, p1"):
        restore_module(NEW_MULTI.path, "p7")
    with pytest.raises(InvalidArgumentError, match="p0"):
        restore_module(NEW_MULTI.path)
    with pytest.raises(NotInCheckpointError, match="migrate_to_rl_module"):
        restore_module(OLD_MULTI.path, "pol1")
    with pytest.raises(NotInCheckpointError, match="see restore_module"):
        restore_policy(NEW_MULTI.path, "p0")
    with pytest.raises(NotInCheckpointError, match="see restore_policy"):
        restore_algorithm(one("ray2.3.1-py3.8-old-ppo-single_policy").path)


def test_a_class_of_the_users_needs_trust(tmp_path):
    from tests.rllib import own_module

    module = own_module.Tiny(**own_module.ARGUMENTS)
    module.save_to_path(str(tmp_path / "m"))
    assert restore_module(tmp_path / "m").weight == module.weight  # imported already
    code = (tmp_path / "m" / "class_and_ctor_args.pkl").read_bytes()
    other = code.replace(b"tests.rllib.own_module", b"tests.rllib.not_module")
    (tmp_path / "m" / "class_and_ctor_args.pkl").write_bytes(other)
    with pytest.raises(ClassNotFoundError, match=r"trusted=\['tests.rllib.not_module'\]"):
        restore_module(tmp_path / "m")


# -------------------------------------------------------------------------------- two of a hundred


class Counting(LocalFileSystem):
    """A filesystem that notes what is opened."""

    protocol = "counting"
    cachable = False

    def __init__(self):
        super().__init__()
        self.opened = {}

    def _open(self, path, *args, **kwargs):
        self.opened[str(path)] = self.size(path)
        return super()._open(path, *args, **kwargs)

    def read_below(self, folder):
        """How many bytes the files have that were opened below a folder."""
        return sum(size for path, size in self.opened.items() if path.startswith(f"{folder}/"))


def _multiplied(case, tmp_path, folder, name):
    """A checkpoint with a hundred policies, all of them copies of one."""
    path = tmp_path / "c"
    shutil.copytree(case.path, path)
    for number in range(100):
        shutil.copytree(path / folder / name, path / folder / f"n{number:02}")
    return path


@pytest.fixture
def hundred_modules(tmp_path):
    return _multiplied(NEW_MULTI, tmp_path, "learner_group/learner/rl_module", "p1")


@pytest.fixture
def hundred_policies(tmp_path):
    return _multiplied(OLD_MULTI, tmp_path, "policies", "pol1")


def _size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_of_a_hundred_modules_one_is_read(hundred_modules):
    counting = Counting()
    restore_module(hundred_modules, "n42", filesystem=counting)
    folder = hundred_modules / "learner_group" / "learner" / "rl_module"
    assert counting.read_below(folder) - counting.read_below(folder / "n42") < 5000
    assert 0 < counting.read_below(folder / "n42") <= _size(folder / "n42")
    assert not any("n41" in path for path in counting.opened)


def test_of_a_hundred_policies_one_is_read(hundred_policies):
    counting = Counting()
    restore_policy(hundred_policies, "n42", filesystem=counting)
    read = [path for path in counting.opened if "/policies/" in path]
    assert read
    assert all("/policies/n42/" in path for path in read)


def _cartpole(multi_agent_env, **more):
    return {
        "policy_ids": {"n07", "n42"},
        "policy_mapping_fn": lambda agent, *rest, **more: "n42" if agent else "n07",
        "policies_to_train": {"n42"},
        "env": multi_agent_env,
        **more,
    }


@pytest.fixture
def multi_agent_env():
    from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole

    return MultiAgentCartPole


@pytest.mark.parametrize("optimizers", [True, False])
def test_an_algorithm_of_two_of_a_hundred_modules(
    hundred_modules, ray_session, multi_agent_env, optimizers
):
    counting = Counting()
    algorithm = restore_algorithm(
        hundred_modules,
        filesystem=counting,
        **_cartpole(multi_agent_env, optimizers=optimizers),
    )
    assert {*algorithm.learner_group.get_weights()} == {"n07", "n42"}
    assert algorithm.restore_report.loaded == ("n07", "n42")  # the copies have no optimizers
    names = {path.partition("/rl_module/")[2].partition("/")[0] for path in counting.opened}
    assert names <= {"", "n07", "n42", "metadata.json", "class_and_ctor_args.pkl"}
    read_optimizers = any(path.endswith("learner/state.msgpack") for path in counting.opened)
    assert read_optimizers == optimizers
    before = algorithm.learner_group.get_weights()
    algorithm.train()
    after = algorithm.learner_group.get_weights()
    np.testing.assert_equal(after["n07"], before["n07"])
    with pytest.raises(AssertionError):
        np.testing.assert_equal(after["n42"], before["n42"])
    algorithm.stop()


def test_an_algorithm_of_two_of_a_hundred_policies(hundred_policies, ray_session, multi_agent_env):
    counting = Counting()
    algorithm = restore_algorithm(
        hundred_policies, filesystem=counting, **_cartpole(multi_agent_env)
    )
    expected = load_weights(OLD_MULTI.path, "pol1")
    for name in ("n07", "n42"):
        np.testing.assert_equal(algorithm.get_policy(name).get_weights(), expected)
    names = {path.partition("/policies/")[2].partition("/")[0] for path in counting.opened}
    assert names <= {"", "n07", "n42"}
    assert algorithm.train()["training_iteration"] == 2
    np.testing.assert_equal(algorithm.get_policy("n07").get_weights(), expected)
    algorithm.stop()


# ------------------------------------------------------------------------------- whole Algorithms


def test_filters_and_optimizers_go_on_where_they_were(ray_session):
    case = one("ray2.60.0-py3.11-new-ppo-single-meanstd")
    algorithm = restore_algorithm(case.path)
    loaded = algorithm.restore_report.loaded
    assert loaded == ("default_policy", "optimizer/default_policy_default_optimizer")
    state = algorithm.env_runner.get_state(components="env_to_module_connector")
    stats = state["env_to_module_connector"]["MeanStdFilter"][None]["running_stats"]
    assert stats[0]["num_pushes"] == 69
    assert algorithm.train()["training_iteration"] == 2
    algorithm.stop()


def test_every_worker_has_the_weights(ray_session):
    from ray.rllib.algorithms.ppo import PPOConfig

    case = one("ray2.60.0-py3.11-new-ppo-single-meanstd")
    with pytest.raises(RestoreError, match="MeanStdFilter: unexpected"):
        restore_algorithm(case.path, config=PPOConfig().environment("CartPole-v1"))
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=1)
    algorithm = restore_algorithm(case.path, config=config, strict="ignore")
    expected = load_weights(case.path)["encoder.encoder.net.mlp.0.weight"]
    held = algorithm.env_runner_group.foreach_env_runner(lambda runner: runner.module.get_state())
    assert held
    for weights in held:
        np.testing.assert_equal(weights["encoder.encoder.net.mlp.0.weight"], expected)
    algorithm.stop()


def test_a_worker_with_other_weights_is_found(ray_session):
    from tune_ckpt.rllib.restoring.same_weights import differing_workers

    case = one("ray2.3.1-py3.8-old-ppo-single")
    algorithm = restore_algorithm(case.path)
    weights = {"default_policy": load_weights(case.path)}
    assert differing_workers(algorithm, weights) == []
    policy = algorithm.get_policy("default_policy")
    changed = policy.get_weights()
    changed["_value_branch._model.0.bias"] = changed["_value_branch._model.0.bias"] + 1
    policy.set_weights(changed)
    (fault,) = differing_workers(algorithm, weights)
    assert str(fault).endswith("other weights than restored: _value_branch._model.0.bias")
    algorithm.stop()


def test_what_the_algorithm_needs_and_nobody_tells_is_asked_for():
    with pytest.raises(NotInCheckpointError, match="pass env="):
        restore_algorithm(OLD_MULTI.path, ["pol1"])
    with pytest.raises(InvalidArgumentError, match=r"policy_mapping_fn.*pol1, pol2"):
        restore_algorithm(OLD_MULTI.path, env="CartPole-v1")
    with pytest.raises(ComponentNotFoundError, match="'p7'"):
        restore_algorithm(NEW_MULTI.path, ["p7"])
    with pytest.raises(InvalidArgumentError, match="at least one policy"):
        restore_algorithm(NEW_MULTI.path, [])
