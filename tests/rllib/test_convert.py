"""Conversion on the files alone: what RLlib reads, with nothing lost that is not told."""

import json
import shutil
from functools import cache
from pathlib import Path

import cloudpickle
import msgpack
import msgpack_numpy
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from pyarrow import fs

from tests.rllib.cases import CASES, every_case, one
from tune_ckpt.errors import (
    CorruptDataError,
    NotACheckpointError,
    PickleReadError,
    StorageError,
    UnsupportedStateError,
)
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib import (
    convert_to_msgpack_checkpoint,
    convert_to_msgpack_policy_checkpoint,
    get_checkpoint_info,
    load_config,
    load_counters,
    load_spaces,
    load_weights,
)
from tune_ckpt.rllib.converting import pickling

MODULES_IN_POLICIES = (
    "ray2.24.0-py3.10-hybrid-ppo-single_policy",
    "ray2.7.1-py3.9-hybrid-ppo-single_policy",
)
FAR = {"0.1": "1.1", "1.0": "1.1", "1.1": "1.1", "1.2": "2.1", "2.0": "2.1", "2.1": "2.1"}


@pytest.fixture(scope="module")
def convert(tmp_path_factory):
    """Convert a case, once for all tests."""
    folder = tmp_path_factory.mktemp("converted")
    return cache(lambda case: convert_to_msgpack_checkpoint(case.path, folder / case.name))


@every_case
def test_weights_counters_and_spaces_are_the_same(convert, case):
    converted = convert(case)
    np.testing.assert_equal(load_weights(converted), load_weights(case.path))
    np.testing.assert_equal(load_spaces(converted), load_spaces(case.path))
    if case.name.startswith(MODULES_IN_POLICIES):
        return  # what becomes a module counts nothing
    there, here = load_counters(converted), load_counters(case.path)
    assert there.items() >= here.items()


@every_case
def test_it_is_msgpack_as_rllib_names_it(convert, case):
    before = get_checkpoint_info(case.path, details=False)
    found = get_checkpoint_info(convert(case), details=False)
    if case.name.startswith(MODULES_IN_POLICIES):
        before |= {"type": "RLModule", "checkpoint_version": "2.1"}
    assert (found["type"], found["format"]) == (before["type"], "msgpack")
    assert found["checkpoint_version"] == FAR[before["checkpoint_version"]]
    pickles = [file.name for file in Path(convert(case)).rglob("*.pkl")]
    assert set(pickles) <= {"class_and_ctor_args.pkl"}


def _read(file, **options):
    return msgpack.unpackb(file.read_bytes(), object_hook=msgpack_numpy.decode, **options)


@every_case
def test_msgpack_with_rllibs_own_settings_reads_every_file(convert, case):
    for file in Path(convert(case)).rglob("*.msgpack"):
        assert isinstance(_read(file, strict_map_key=False), dict)
    for file in Path(convert(case)).rglob("*.msgpck"):
        assert isinstance(_read(file), dict)  # RLlib refuses numbers as keys there


def test_what_was_not_carried_is_told_and_marked(tmp_path):
    case = one("ray2.10.0-py3.10-old-ppo-multi")
    converted = convert_to_msgpack_checkpoint(case.path, tmp_path / "c")
    told = {fault.path: fault.reason for fault in converted.not_carried}
    assert "the code of __main__:mapping_fn was not" in told["config/policy_mapping_fn"]
    assert told["config/env"] == "only its name was carried, MultiEnv"
    state = _read(tmp_path / "c" / "algorithm_state.msgpck")
    mark = "__not_serializable__"
    assert state["config"]["policy_mapping_fn"] == state["worker"]["policy_mapping_fn"] == mark


def test_an_environment_that_is_lost_can_be_given_in_the_configuration(tmp_path):
    path = one("ray2.30.0").path
    converted = convert_to_msgpack_checkpoint(path, tmp_path / "a")
    told = {fault.path: fault.reason for fault in converted.not_carried}
    assert told["config/env"].endswith('MultiEnv was not carried; pass config={"env": ...}')
    converted = convert_to_msgpack_checkpoint(path, tmp_path / "b", config={"env": OwnEnv})
    assert "config/env" not in {fault.path for fault in converted.not_carried}


def test_filters_that_are_lost_are_told(tmp_path):
    case = next((case for case in CASES if case.name == "ray2.10.0-py3.10-old-ppo-single"), None)
    if case is None:
        pytest.skip("the corpus of real checkpoints is not beside this checkout")
    converted = convert_to_msgpack_checkpoint(case.path, tmp_path / "c")
    told = {fault.path: fault.reason for fault in converted.not_carried}
    assert "no longer normalised for the policy" in told["worker/filters/default_policy"]


def test_an_algorithm_that_was_not_trained_counts_from_zero(tmp_path):
    state = {"algorithm_class": None, "worker": {"policy_ids": []}, "counters": {}}
    found, _ = _converted(tmp_path, state, "algorithm_state")
    assert found["counters"]["num_env_steps_sampled"] == 0


def test_optimizers_are_carried_with_their_numbers_as_text(tmp_path):
    case = one("ray2.10.0-py3.10-old-ppo-multi")
    convert_to_msgpack_checkpoint(case.path, tmp_path / "c")
    (optimizer,) = _read(tmp_path / "c/policies/pol1/policy_state.msgpck")["_optimizer_variables"]
    (group,) = optimizer["param_groups"]
    assert group["params"] == [*optimizer["state"]] == [str(number) for number in range(12)]
    assert optimizer["state"]["0"]["exp_avg"].shape == (2, 8)


def test_metrics_of_ray_2_40_get_the_names_that_newer_ray_has(tmp_path):
    case = one("ray2.40.0-py3.10-new-ppo-single")
    convert_to_msgpack_checkpoint(case.path, tmp_path / "c")
    state = _read(tmp_path / "c" / "algorithm_state.msgpack", strict_map_key=False)
    assert "env_runners--num_env_steps_sampled_lifetime" in state["metrics_logger"]["stats"]


@pytest.mark.parametrize("part", ["learner_group", "learner_group/learner/rl_module/p1"])
def test_a_part_is_converted_like_the_whole(tmp_path, part):
    path = one("ray2.60.0-py3.13").path / part
    converted = convert_to_msgpack_checkpoint(path, tmp_path / "c")
    np.testing.assert_equal(load_weights(converted), load_weights(path))


def test_a_policys_own_function_takes_policies_only(tmp_path):
    policy = one("ray2.3.1-py3.8-old-ppo-single_policy").path
    converted = convert_to_msgpack_policy_checkpoint(policy, tmp_path / "c")
    assert converted == str(tmp_path / "c")
    assert get_checkpoint_info(converted)["type"] == "Policy"
    with pytest.raises(NotACheckpointError, match="and no Policy"):
        convert_to_msgpack_policy_checkpoint(one("ray2.10.0").path, tmp_path / "d")


def test_the_old_one_is_not_touched_and_the_new_folder_must_be_empty(tmp_path):
    shutil.copytree(one("ray2.10.0").path, tmp_path / "a")
    before = {file: file.read_bytes() for file in (tmp_path / "a").rglob("*.*")}
    (tmp_path / "b").mkdir()
    convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / "b")
    assert {file: file.read_bytes() for file in (tmp_path / "a").rglob("*.*")} == before
    for full in ("a", "b"):
        with pytest.raises(StorageError, match="the folder is not empty"):
            convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / full)


def test_damage_leaves_nothing_behind(tmp_path):
    shutil.copytree(one("ray2.10.0").path, tmp_path / "a")
    (tmp_path / "a" / "policies" / "pol2" / "policy_state.pkl").write_bytes(b"\x80\x05")
    with pytest.raises(CorruptDataError, match=r"pol2/policy_state\.pkl"):
        convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_the_caller_says_counts(tmp_path):
    config = {"lr": 0.25, "callbacks": print}
    converted = convert_to_msgpack_checkpoint(one("ray2.10.0").path, tmp_path / "c", config=config)
    assert load_config(converted)["lr"] == 0.25
    assert load_config(tmp_path / "c" / "policies" / "pol1")["lr"] == 0.25


def test_an_algorithm_that_ray_removed_is_converted_as_it_is(tmp_path):
    state = {"algorithm_class": "ray.rllib.algorithms.a2c.a2c.A2C", "worker": {}, "config": {}}
    _write(tmp_path / "a" / "algorithm_state.pkl", state)
    facts = {"type": "Algorithm", "checkpoint_version": "1.1", "ray_version": "2.4.0"}
    (tmp_path / "a" / "rllib_checkpoint.json").write_text(json.dumps(facts))
    converted = convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / "b")
    assert "Ray has no A2C since 2.11" in str(converted.not_carried[0])
    assert get_checkpoint_info(converted)["format"] == "msgpack"


def test_any_filesystem_will_do(tmp_path):
    shutil.copytree(one("ray2.10.0").path, tmp_path / "a")
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    convert_to_msgpack_checkpoint("a", "b", filesystem=store)
    np.testing.assert_equal(load_weights(tmp_path / "b"), load_weights(tmp_path / "a"))
    assert json.loads((tmp_path / "b" / "rllib_checkpoint.json").read_text())["format"] == "msgpack"


def _write(file, state, dumps=cloudpickle.dumps):
    """Write a state file; an Algorithm's with a policy below, as none is without."""
    file.parent.mkdir(parents=True)
    file.write_bytes(dumps(state))
    if file.stem == "algorithm_state":
        _write(file.parent / "policies" / "default_policy" / "policy_state.pkl", {"weights": {}})


def _converted(tmp_path, state, name="policy_state"):
    _write(tmp_path / "a" / f"{name}.pkl", state)
    converted = convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / "b")
    return _read(tmp_path / "b" / f"{name}.msgpck"), converted.not_carried


def test_a_space_that_an_environment_gets_as_a_dict_is_noted(tmp_path):
    told = {"env": "mine", "env_config": {"space": Discrete(3)}}
    state = {"config": told, "worker": {}, "algorithm_class": None}
    made, lost = _converted(tmp_path, state, "algorithm_state")
    assert made["config"]["env_config"]["space"]["n"] == 3
    assert "config/env_config/space" in [fault.path for fault in lost]


def _dqn(buffer):
    config = {"replay_buffer_config": {"type": buffer}, "env": "CartPole-v1"}
    return {"algorithm_class": "ray.rllib.algorithms.dqn.dqn.DQN", "worker": {}, "config": config}


def test_a_replay_buffer_that_ray_does_not_build_is_ours(tmp_path):
    found, lost = _converted(tmp_path, _dqn("MultiAgentReplayBuffer"), "algorithm_state")
    buffer = found["config"]["replay_buffer_config"]["type"]
    assert buffer == "tune_ckpt.rllib.former.MultiAgentReplayBuffer"
    assert "tune_ckpt does, and must be installed" in str(lost[0])


def test_a_replay_buffer_of_the_users_stays(tmp_path):
    found, lost = _converted(tmp_path, _dqn("mine.Buffer"), "algorithm_state")
    assert found["config"]["replay_buffer_config"] == {"type": "mine.Buffer"}
    assert not lost


def test_classes_that_rllib_would_take_for_text_are_left_out_and_told(tmp_path):
    prelearner = Reference("ray.rllib.offline.offline_prelearner:OfflinePreLearner")
    config = {"prelearner_class": prelearner, "mine": Reference("my.module:Mine"), "env": "E"}
    state = {"worker": {}, "config": config}
    _write(tmp_path / "a" / "algorithm_state.pkl", state, pickling.dumps)
    converted = convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / "b")
    assert load_config(converted) == {"env": "E"}
    told = [str(fault) for fault in converted.not_carried]
    assert told == ["config/mine: the class my.module:Mine was not carried"]


def test_classes_of_numpy_are_carried_by_their_names(tmp_path):
    found, _ = _converted(tmp_path, {"weights": {}, "dtype": np.float32})
    assert found["dtype"] == "numpy.float32"


def test_an_algorithm_without_an_environment_is_told(tmp_path):
    _, lost = _converted(tmp_path, {"worker": {}, "config": {}}, "algorithm_state")
    assert "pass one in config=" in str(lost[0])


class OwnEnv:
    """An environment that can be imported."""


def test_an_environment_that_is_a_class_is_named(tmp_path):
    path = one("ray2.10.0").path
    converted = convert_to_msgpack_checkpoint(path, tmp_path / "a", config={"env": OwnEnv})
    assert load_config(converted)["env"] == f"{__name__}.OwnEnv"
    local = type("Local", (), {"__qualname__": "f.<locals>.Local"})
    converted = convert_to_msgpack_checkpoint(path, tmp_path / "b", config={"env": local})
    assert load_config(converted)["env"] == "Local"


def test_code_in_what_is_copied_is_told(tmp_path):
    case = one("ray2.60.0-py3.13")
    converted = convert_to_msgpack_checkpoint(case.path, tmp_path / "a")
    assert [fault.path for fault in converted.not_carried] == ["class_and_ctor_args.pkl"]
    config = {"policy_mapping_fn": None}
    anew = convert_to_msgpack_checkpoint(case.path, tmp_path / "b", config=config)
    assert "class_and_ctor_args.pkl" not in [fault.path for fault in anew.not_carried]


def test_a_pickle_of_code_inside_of_the_state_is_left_out(tmp_path):
    code, data = cloudpickle.dumps(lambda: 1), cloudpickle.dumps([1, 2])
    state = {"weights": {}, "code": code, "data": data, "bytes": b"\x80."}
    found, lost = _converted(tmp_path, state)
    assert (found["code"], found["data"], found["bytes"]) == (None, data, b"\x80.")
    assert [str(fault) for fault in lost] == ["code: a pickle with code in it was not carried"]


def test_old_statistics_get_the_names_of_newer_ray(tmp_path):
    old = {"num_pushes": 68, "mean_array": "means", "std_array": "squares"}
    found, _ = _converted(tmp_path, {"weights": {}, "connectors": [old]})
    assert found["connectors"] == [
        {
            **{"num_pushes": 68, "mean_array": "means", "sum_sq_diff_array": "squares"},
            **{"num_pushes_delta": 68, "mean_delta_array": "means"},
            "sum_sq_diff_delta_array": "squares",
        }
    ]


def test_keys_that_become_the_same_are_refused(tmp_path):
    with pytest.raises(UnsupportedStateError, match=r"- a: two of its keys become the same text"):
        _converted(tmp_path, {"weights": {}, "a": {1: 2, "1": 3}})


def test_all_that_msgpack_cannot_hold_is_listed_with_its_file(tmp_path):
    shutil.copytree(one("ray2.10.0").path, tmp_path / "a")
    for name in ("pol1", "pol2"):
        state = {"weights": {"w": 2**70}}
        file = tmp_path / "a" / "policies" / name / "policy_state.pkl"
        file.write_bytes(cloudpickle.dumps(state))
    with pytest.raises(UnsupportedStateError) as raised:
        convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / "b")
    assert [fault.path for fault in raised.value.faults] == [
        "policies/pol1/weights/w",
        "policies/pol2/weights/w",
    ]


def test_a_state_that_is_none_of_rllibs_is_named(tmp_path):
    state = {"worker": {}, "config": {"env": "E"}, "counters": [1]}
    with pytest.raises(CorruptDataError, match=r"algorithm_state\.pkl: it holds what no RLlib"):
        _converted(tmp_path, state, "algorithm_state")


def test_a_state_that_holds_itself_is_refused(tmp_path):
    state = {"weights": {}}
    state["itself"] = state
    with pytest.raises(PickleReadError, match="contains itself"):
        _converted(tmp_path, state)


# -------------------------------------------------------------------------------- in RLlib itself


def _arrays(state):
    return {name: np.asarray(value) for name, value in state.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray2.40.0-py3.10-new-ppo-single_module", "ray2.43.0"])
def test_rllib_restores_a_module(tmp_path, name):
    import torch
    from ray.rllib.core.rl_module.rl_module import RLModule

    case = one(name)
    converted = convert_to_msgpack_checkpoint(case.path, tmp_path / "c")
    module = RLModule.from_checkpoint(converted)
    np.testing.assert_equal(_arrays(module.get_state()), load_weights(case.path))
    with torch.no_grad():
        found = module.forward_inference({"obs": torch.from_numpy(case.observations)})
    expected = case.outputs["__module__/inference/action_dist_inputs"]
    np.testing.assert_allclose(found["action_dist_inputs"].numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_rllib_restores_an_algorithm_and_goes_on(tmp_path, ray_session):
    from ray.rllib.algorithms.algorithm import Algorithm

    case = one("ray2.60.0-py3.11-new-ppo-single-meanstd")
    converted = convert_to_msgpack_checkpoint(case.path, tmp_path / "c")
    algorithm = Algorithm.from_checkpoint(converted)
    learned = algorithm.learner_group._learner.module["default_policy"].get_state()
    np.testing.assert_equal(_arrays(learned), load_weights(case.path))
    assert algorithm.train()["training_iteration"] == 2
    algorithm.stop()


@pytest.mark.slow
def test_rllib_restores_a_policy_with_its_optimizer(tmp_path, ray_session):
    from ray.rllib.policy.policy import Policy

    case = one("ray2.60.0-py3.11-old-ppo-multi-emptystats_policy_msgpack")
    with pytest.raises(ValueError, match="int is not allowed for map key"):
        Policy.from_checkpoint(str(case.path))  # as RLlib's own converter wrote it
    converted = convert_to_msgpack_checkpoint(case.path, tmp_path / "c")
    policy = Policy.from_checkpoint(converted)
    np.testing.assert_equal(policy.get_weights(), load_weights(case.path))
    (optimizer,) = policy._optimizers
    assert len(optimizer.state_dict()["state"]) == 12


def _logits(policy, observations):
    import torch

    with torch.no_grad():
        return policy.model({"obs": torch.from_numpy(observations)})[0].numpy()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")  # RLlib unpickles old names
def test_rllib_restores_a_policy_of_ray_2_3_that_it_cannot_unpickle(tmp_path, ray_session):
    from ray.rllib.policy.policy import Policy

    case = one("ray2.3.1-py3.8-old-ppo-single_policy")
    with pytest.raises(ModuleNotFoundError):
        Policy.from_checkpoint(str(case.path))
    policy = Policy.from_checkpoint(convert_to_msgpack_policy_checkpoint(case.path, tmp_path / "c"))
    np.testing.assert_equal(policy.get_weights(), load_weights(case.path))
    (optimizer,) = policy._optimizers
    assert len(optimizer.state_dict()["state"]) == 12
    found, expected = _logits(policy, case.observations), case.outputs["__policy__/logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
