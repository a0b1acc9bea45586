"""Whole Algorithms: filters, optimizers and workers are where they were."""

import shutil

import numpy as np
import pytest

from tests.rllib.cases import (
    ALGORITHMS,
    OWN_CONNECTOR,
    STACKING,
    hybrid_of_discrete_observations,
    hybrid_with_a_filter,
    of_ray_1,
    one,
    with_connectors,
    with_former_statistics,
)
from tune_ckpt.errors import (
    ComponentNotFoundError,
    ConstructorError,
    InvalidArgumentError,
    NotInCheckpointError,
    PickleReadError,
    RestoreError,
)
from tune_ckpt.formats.references import Reference
from tune_ckpt.objects.trust import Trust
from tune_ckpt.rllib import load_counters, load_weights, restore_algorithm
from tune_ckpt.rllib.converting import pickling
from tune_ckpt.rllib.reading.finding import find
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.choosing import choose
from tune_ckpt.rllib.restoring.give_states import give_to_new_stack
from tune_ckpt.rllib.restoring.rebuilt_config import rebuilt_config
from tune_ckpt.rllib.restoring.rebuilt_connectors import env_to_module_connectors

pytestmark = pytest.mark.slow

MODEL = {"fcnet_hiddens": [8, 8]}
NEW_MULTI, OLD_MULTI = one("ray2.60.0-py3.13"), one("ray2.10.0-py3.10-old-ppo-multi")


def test_filters_and_optimizers_go_on_where_they_were(tmp_path, ray_session):
    path = with_former_statistics(tmp_path / "c")
    algorithm = restore_algorithm(path, "default_policy")
    loaded = algorithm.restore_report.loaded
    assert loaded == ("default_policy", "optimizer/default_policy_default_optimizer")
    state = algorithm.env_runner.get_state(components="env_to_module_connector")
    stats = state["env_to_module_connector"]["MeanStdFilter"][None]["running_stats"]
    assert stats[0]["num_pushes"] == 69
    assert algorithm.train()["training_iteration"] == 2
    algorithm.stop()


def test_an_old_dqn_gets_a_replay_buffer_that_todays_ray_can_build(ray_session):
    (case,) = (case for case in ALGORITHMS if case.name == "ray2.35.0-old-dqn-rainbow")
    algorithm = restore_algorithm(case.path)
    weights = algorithm.get_policy("default_policy").get_weights()
    np.testing.assert_equal(weights, load_weights(case.path))
    before = len(algorithm.local_replay_buffer)
    algorithm.train()
    assert len(algorithm.local_replay_buffer) > before
    algorithm.stop()


def test_a_hybrids_optimizers_go_on_and_a_lost_filter_is_told(ray_session, tmp_path):
    import torch

    path = hybrid_with_a_filter(tmp_path / "a")
    algorithm = restore_algorithm(path)
    report, name = algorithm.restore_report, "default_policy_default_optimizer"
    assert f"optimizer/{name}" in report.loaded
    assert "observation_filter/default_policy" in [fault.path for fault in report.left_out]
    held = algorithm.learner_group.get_state()["learner"]["optimizer"][name]["state"]
    (stored,) = (path / "learner/optimizer_state").iterdir()
    expected = torch.load(stored, weights_only=True)["state"]
    for number, moments in expected.items():
        np.testing.assert_equal(held["state"][number]["exp_avg"], moments["exp_avg"].numpy())
    algorithm.stop()


def test_policies_have_settings_of_their_own(ray_session, tmp_path):
    own = {"gamma": 0.5, "model": {"fcnet_activation": "relu"}}
    policies = {"default_policy": [None, None, None, own]}
    params = {"env": "CartPole-v1", "num_workers": 0, "model": MODEL}
    params["multiagent"] = {"policies": policies}
    algorithm = restore_algorithm(of_ray_1(tmp_path / "t", "PPOTorchPolicy", params))
    config = algorithm.get_policy("default_policy").config
    assert (config["gamma"], config["model"]["fcnet_activation"]) == (0.5, "relu")
    assert algorithm.config.gamma == 0.99
    algorithm.stop()


def test_what_a_hybrids_workers_flattened_a_connector_flattens(tmp_path):
    path = hybrid_of_discrete_observations(tmp_path / "a")
    config = rebuilt_config(find(path), True, Trust(), Account(str(path)))
    (made,) = config._env_to_module_connector()
    assert type(made).__name__ == "FlattenObservations"


def test_connectors_that_somebody_chose_are_made_again(tmp_path):
    from ray.rllib.connectors.common.frame_stacking import FrameStacking

    chosen, own = (STACKING, {"num_frames": 2}), (OWN_CONNECTOR, {})
    path = with_connectors(tmp_path / "c", own, chosen, ("mine:Connector", {}))
    account = Account(str(path))
    (made,) = env_to_module_connectors(find(path), Trust(), account)()
    assert (type(made), made.num_frames) == (FrameStacking, 2)
    assert [fault.path for fault in account.left_out] == ["env_to_module_connector/mine:Connector"]


def _with_config(folder, case, **told):
    """Write a checkpoint of the new API stack with another configuration; return its path."""
    shutil.copytree(case.path, folder)
    ctor = {"class": Reference(PPO), "ctor_args_and_kwargs": ((told,), {})}
    (folder / "class_and_ctor_args.pkl").write_bytes(pickling.dumps(ctor))
    return folder


PPO = "ray.rllib.algorithms.ppo.ppo:PPO"


def test_a_module_that_only_learners_have_does_not_act(tmp_path, ray_session):
    specs = {"curiosity": {"learner_only": True}, "default_policy": {"learner_only": False}}
    told = {"env": "CartPole-v1", "_rl_module_spec": {"rl_module_specs": specs}}
    path = _with_config(tmp_path / "c", one("ray2.40.0-py3.10-new-ppo-single"), **told)
    modules = path / "learner_group" / "learner" / "rl_module"
    shutil.copytree(modules / "default_policy", modules / "curiosity")
    algorithm = restore_algorithm(path)
    assert "optimizer/default_policy_default_optimizer" in algorithm.restore_report.loaded
    weights = algorithm.learner_group.get_weights()
    name = "encoder.encoder.net.mlp.0.weight"
    np.testing.assert_equal(weights["curiosity"][name], weights["default_policy"][name])
    assert not hasattr(algorithm.env_runner.module, "keys")  # it is the one that acts
    # Schedules of learning rates and of exploration go on by these.
    sampled = load_counters(path)["env_runners/num_env_steps_sampled_lifetime"]
    assert algorithm.metrics.peek(("env_runners", "num_env_steps_sampled_lifetime")) == sampled
    assert algorithm.env_runner.num_env_steps_sampled_lifetime == sampled
    algorithm.stop()


class Offline:
    """An Algorithm that learns offline, as Ray builds one, and its learners."""

    env_runner_group = eval_env_runner_group = None

    def __init__(self, weights):
        self.learner_group, self.weights, self.given = self, weights, []

    def get_weights(self):
        return {"default_policy": self.weights}

    def get_state(self, **options):
        return {"learner": {"rl_module": self.get_weights()}}

    def set_state(self, state):
        self.given.append(state)


def test_an_algorithm_without_runners_is_given_what_its_learners_take():
    part = find(one("ray2.40.0-py3.10-new-ppo-single").path)
    algorithm, account = Offline(load_weights(part.path)), Account(part.path)
    give_to_new_stack(algorithm, part, choose(part, None).members, account, optimizers=True)
    _metrics, learners, rest = algorithm.given
    assert ({*learners["learner"]}, {*rest}) == ({"rl_module", "optimizer"}, {"training_iteration"})
    assert [fault.path for fault in account.left_out] == ["env_runner"]


def test_frozen_modules_stay_frozen_and_a_trusted_mapping_is_taken(tmp_path):
    mapping = Reference(f"{__name__}:agent_to_policy")
    told = {"policies_to_train": ["team.red"], "policy_mapping_fn": mapping}
    part = find(_with_config(tmp_path / "c", NEW_MULTI, **told))
    account = Account(part.path)
    config = rebuilt_config(part, True, Trust(modules=(__name__,)), account)
    assert (config.policies_to_train, config.policy_mapping_fn) == (["team.red"], agent_to_policy)
    assert account.left_out == []


def agent_to_policy(agent, *rest, **more):
    return "p0"


def test_a_filter_that_the_configuration_lacks_is_an_error_or_left_out(ray_session):
    from ray.rllib.algorithms.ppo import PPOConfig

    case = one("ray2.60.0-py3.11-new-ppo-single-meanstd")
    # Remote runners, each of them a process, are in test_two_of_a_hundred.py.
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    with pytest.raises(RestoreError, match="MeanStdFilter: unexpected"):
        restore_algorithm(case.path, config=config)
    algorithm = restore_algorithm(case.path, config=config.copy(), strict="ignore")
    expected = load_weights(case.path)["encoder.encoder.net.mlp.0.weight"]
    held = algorithm.env_runner.module.get_state()
    np.testing.assert_equal(held["encoder.encoder.net.mlp.0.weight"], expected)
    algorithm.stop()


def test_a_worker_with_other_weights_is_found(ray_session):
    from tune_ckpt.rllib.restoring.same_weights import differing_workers

    case = one("ray2.3.1-py3.8-old-ppo-single")
    algorithm = restore_algorithm(case.path)
    (lost,) = algorithm.restore_report.left_out  # told with its policy
    assert lost.path.startswith("policies/default_policy/connector_configs/")
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
    with pytest.raises(NotInCheckpointError, match=r":MultiEnv was left out, as code.*pass env="):
        restore_algorithm(OLD_MULTI.path, ["pol1"])
    with pytest.raises(PickleReadError, match=r"Without allow_pickle=True it is read as plain"):
        restore_algorithm(one("ray2.3.1-py3.8-old-ppo-single").path, allow_pickle=True)
    with pytest.raises(InvalidArgumentError, match=r"policy_mapping_fn.*pol1, pol2"):
        restore_algorithm(OLD_MULTI.path, env="CartPole-v1")
    with pytest.raises(ComponentNotFoundError, match="'p7'"):
        restore_algorithm(NEW_MULTI.path, "p7")
    with pytest.raises(InvalidArgumentError, match="at least one policy"):
        restore_algorithm(NEW_MULTI.path, [])
    with pytest.raises(InvalidArgumentError, match=r"config=3 .* an AlgorithmConfig"):
        restore_algorithm(NEW_MULTI.path, config=3)
    with pytest.raises(InvalidArgumentError, match=r"strict='no' .* True, warn, ignore"):
        restore_algorithm(NEW_MULTI.path, strict="no")


def test_an_algorithm_without_its_policies_is_not_built(tmp_path):
    shutil.copytree(NEW_MULTI.path, tmp_path / "c")
    for part in ("learner_group", "env_runner"):
        shutil.rmtree(tmp_path / "c" / part)
    with pytest.raises(NotInCheckpointError, match="has neither policies nor modules"):
        restore_algorithm(tmp_path / "c", env="CartPole-v1")


def test_an_environment_that_ray_does_not_have_is_an_error_of_ours(ray_session):
    path = one("ray2.3.1-py3.8-old-ppo-single").path
    with pytest.raises(ConstructorError, match="Nowhere-v0"):
        restore_algorithm(path, env="Nowhere-v0")
