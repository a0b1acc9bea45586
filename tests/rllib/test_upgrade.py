"""Checkpoints of older Ray become ones that Ray 2.60 loads: on the files alone, without code."""

import json
import pickle
import shutil
import warnings
from collections import OrderedDict, defaultdict, deque
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import gymnasium as gym
import msgpack
import msgpack_numpy
import numpy as np
import pytest
from pyarrow import fs

from tests.rllib.cases import ALGORITHMS as OTHERS
from tests.rllib.cases import (
    COMMITTED,
    every_case,
    hybrid_of_discrete_observations,
    hybrid_with_a_filter,
    of_ray_1,
    of_ray_1_with_a_filter,
    one,
)
from tests.rllib.score import register_environments, score
from tune_ckpt.errors import (
    CorruptDataError,
    InvalidArgumentError,
    NotACheckpointError,
    StorageError,
    UnsupportedStateError,
)
from tune_ckpt.formats.pickle import Opaque, list_globals, loads_inert
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib import (
    get_checkpoint_info,
    load_config,
    load_counters,
    load_weights,
    upgrade_checkpoint,
)
from tune_ckpt.rllib.converting import moves, pickling
from tune_ckpt.rllib.converting.algorithms import (
    ALGORITHM_OF_POLICY,
    ALGORITHMS,
    REMOVED_ALGORITHMS,
)
from tune_ckpt.rllib.converting.component_states import restated_optimizers
from tune_ckpt.rllib.converting.config_keys import DERIVED, REMOVED, RENAMED, newest
from tune_ckpt.rllib.converting.given import given
from tune_ckpt.rllib.converting.metrics import carried
from tune_ckpt.rllib.converting.modules import upgraded_weights
from tune_ckpt.rllib.converting.moves import _CLASSES as MOVED
from tune_ckpt.rllib.converting.moves import moved
from tune_ckpt.rllib.converting.replay_buffers import of_old_stack
from tune_ckpt.rllib.converting.weight_names import newest_names, without_copies
from tune_ckpt.rllib.reading.finding import find
from tune_ckpt.rllib.reading.member_kinds import Policy, arguments
from tune_ckpt.rllib.reading.members import members


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory):
    """Upgrade a case, once for all tests."""
    folder = tmp_path_factory.mktemp("upgraded")
    return cache(lambda case: upgrade_checkpoint(case.path, folder / case.name))


@every_case
def test_weights_and_counters_are_the_same(upgrade, case):
    upgraded = upgrade(case)
    np.testing.assert_equal(load_weights(upgraded), load_weights(case.path))
    if get_checkpoint_info(upgraded, details=False)["type"] == "Algorithm":
        before, after = load_counters(case.path), load_counters(upgraded)
        assert after["training_iteration"] == before.get("training_iteration", 0)


@every_case
def test_no_code_is_in_it_and_only_rllibs_own_classes_are_named(upgrade, case):
    for file in Path(upgrade(case)).rglob("*.pkl"):
        packages = {name.partition(":")[0].partition(".")[0] for name in _globals(file)}
        has_filter = (case.path / "env_runner/env_to_module_connector/MeanStdFilter").exists()
        ours = {"tune_ckpt"} if has_filter else set()  # which makes it
        assert packages <= {
            *("ray", "gymnasium", "numpy", "collections", "builtins", "operator")
        } | {*("abc", "functools", "_codecs"), *ours}


def _globals(file):
    return list_globals(file.read_bytes(), file=str(file))


def test_notes_tell_what_was_not_carried(tmp_path):
    upgraded = upgrade_checkpoint(one("ray2.10.0").path, tmp_path / "c")
    told = {fault.path: fault.reason for fault in upgraded.notes}
    assert told["config/policy_mapping_fn"].startswith("the code of __main__:mapping_fn was not")
    assert told["config/env"].endswith("MultiEnv was not carried; pass env=")
    assert upgraded == str(tmp_path / "c")


def test_an_environment_that_nothing_names_is_noted(tmp_path):
    oldest = one("synthetic-v0.1").path
    notes = [str(note) for note in upgrade_checkpoint(oldest, tmp_path / "a").notes]
    told = "config/env: none is stored: it computes actions, but cannot train; pass env="
    assert told in notes
    given = upgrade_checkpoint(oldest, tmp_path / "b", env="CartPole-v1").notes
    assert [note.path for note in given] == ["config"]


def test_arrays_that_rllibs_patch_of_msgpack_has_left_as_dicts_are_arrays(tmp_path):
    original = one("ray2.60.0-py3.11-new-ppo-single").path
    shutil.copytree(original, tmp_path / "a")
    learner = Path("learner_group", "learner")
    state = pickle.loads((original / learner / "state.pkl").read_bytes())
    packed = msgpack.packb(state["optimizer"], default=msgpack_numpy.encode)
    state["optimizer"] = msgpack.unpackb(packed, strict_map_key=False)
    (tmp_path / "a" / learner / "state.pkl").write_bytes(pickle.dumps(state))
    upgrade_checkpoint(tmp_path / "a", tmp_path / "b")
    upgraded = find(tmp_path / "b" / learner).state["optimizer"]
    np.testing.assert_equal(upgraded, find(original / learner).state["optimizer"])


def test_that_ray_opens_no_algorithm_without_runners_is_told(tmp_path):
    shutil.copytree(one("ray2.60.0-py3.11-new-ppo-single").path, tmp_path / "a")
    cls, args = Reference("ray.rllib.algorithms.bc.bc:BC"), ([{}], {})
    offline = {"class": cls, "ctor_args_and_kwargs": args}
    (tmp_path / "a" / "class_and_ctor_args.pkl").write_bytes(pickling.dumps(offline))
    notes = upgrade_checkpoint(tmp_path / "a", tmp_path / "b").notes
    assert "restore_algorithm opens it" in notes[-1].reason


@pytest.mark.parametrize("part", ["learner_group", "learner_group/learner"])
def test_a_learner_group_alone_keeps_its_layers(tmp_path, part):
    upgraded = upgrade_checkpoint(one("ray2.40.0-py3.10-new").path / part, tmp_path / "c")
    stored = _called_with(arguments(find(upgraded))[1]["module_spec"])
    (spec,) = map(_called_with, stored["rl_module_specs"].values())
    assert spec["model_config"]["fcnet_hiddens"] == [8, 8]
    assert not {"model_config_dict", "module_specs"} & {*spec, *stored}


def _called_with(call):
    """Return what something in a pickle is called with, by name."""
    (partial,) = call.args
    return partial.state[2]


MEANSTD = one("ray2.60.0-py3.11-new-ppo-single-meanstd").path


def test_a_filter_is_carried_though_the_function_that_made_it_is_code(tmp_path):
    upgraded = upgrade_checkpoint(MEANSTD, tmp_path / "c")
    (note,) = upgraded.notes
    assert note.path == "config/_env_to_module_connector"
    assert "tune_ckpt makes the connectors that it made (MeanStdFilter)" in note.reason
    names = _globals(tmp_path / "c" / "class_and_ctor_args.pkl")
    assert {"tune_ckpt.rllib.former:Connectors", f"{FILTERS}:MeanStdFilter"} <= set(names)


FILTERS = "ray.rllib.connectors.env_to_module.mean_std_filter"


@pytest.mark.slow
def test_a_carried_filter_goes_on_with_its_statistics(tmp_path):
    from ray.rllib.algorithms.ppo import PPOConfig

    upgrade_checkpoint(MEANSTD, tmp_path / "c")
    stored = pickle.loads((tmp_path / "c" / "class_and_ctor_args.pkl").read_bytes())
    config = PPOConfig.from_state(stored["ctor_args_and_kwargs"][0][0])
    spaces = {"__env_single__": (gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2))}
    pipeline = config.build_env_to_module_connector(spaces=spaces)
    pipeline.restore_from_path(tmp_path / "c" / "env_runner" / "env_to_module_connector")
    (found,) = (one for one in pipeline.connectors if type(one).__name__ == "MeanStdFilter")
    state = MEANSTD / "env_runner" / "env_to_module_connector" / "MeanStdFilter" / "state.pkl"
    np.testing.assert_equal(found.get_state(), pickle.loads(state.read_bytes()))


def test_a_filter_that_is_lost_is_named_with_what_that_means(tmp_path):
    path = hybrid_with_a_filter(tmp_path / "a")
    notes = upgrade_checkpoint(path, tmp_path / "b").notes
    told = {note.path: note.reason for note in notes}
    assert "no longer normalised for the policy" in told["observation_filter/default_policy"]
    config = {"env_to_module_connector": gym.spaces.Discrete}  # whatever makes connectors
    told = upgrade_checkpoint(path, tmp_path / "c", config=config).notes
    assert not [note for note in told if note.path.startswith("observation_filter")]


@pytest.mark.slow
def test_what_a_hybrids_workers_flattened_a_connector_flattens(tmp_path):
    path = hybrid_of_discrete_observations(tmp_path / "a")
    notes = {note.path: note.reason for note in upgrade_checkpoint(path, tmp_path / "b").notes}
    assert "flattened observations" in notes["config/_env_to_module_connector"]
    assert "observation_filter/default_policy" in notes
    stored = pickle.loads((tmp_path / "b" / "class_and_ctor_args.pkl").read_bytes())
    (made,) = stored["ctor_args_and_kwargs"][0][0]["_env_to_module_connector"]()
    assert type(made).__name__ == "FlattenObservations"


def test_a_hybrids_learner_may_be_below_its_group(tmp_path):
    path = shutil.copytree(one("ray2.7.1").path, tmp_path / "a")
    shutil.rmtree(path / "learner")  # as from Ray 2.31 on
    group = one("ray2.40.0-py3.10-new-ppo-single").path / "learner_group"
    shutil.copytree(group, path / "learner")
    upgrade_checkpoint(path, tmp_path / "b")
    state = pickle.loads((tmp_path / "b/learner_group/learner/state.pkl").read_bytes())
    assert [*state["optimizer"]] == ["default_policy_default_optimizer"]


def test_a_filter_of_ray_1_is_used_though_nothing_says_that_it_was(tmp_path):
    upgraded = upgrade_checkpoint(of_ray_1_with_a_filter(tmp_path / "a"), tmp_path / "b")
    assert load_config(upgraded)["observation_filter"] == "MeanStdFilter"


def test_settings_have_todays_names(tmp_path):
    config = load_config(
        upgrade_checkpoint(one("ray2.3.1-py3.8-old-ppo-single").path, tmp_path / "c")
    )
    assert (config["num_env_runners"], config["minibatch_size"], config["num_epochs"]) == (0, 32, 1)
    assert config["enable_rl_module_and_learner"] is False
    assert not config.keys() & {*RENAMED, *REMOVED, *DERIVED}


def test_what_the_caller_says_counts(tmp_path):
    path = one("ray2.10.0").path
    upgraded = upgrade_checkpoint(path, tmp_path / "c", config={"num_workers": 3}, env="Mine-v0")
    config = load_config(upgraded)
    assert (config["num_env_runners"], config["env"]) == (3, "Mine-v0")
    assert not [note for note in upgraded.notes if note.path.endswith("env")]


@pytest.mark.parametrize(
    "part",
    [
        one("ray2.10.0").path,
        one("ray2.3.1-py3.8-old-ppo-single_policy").path,
        one("ray2.40.0-py3.10-new").path,
    ],
    ids=["old", "policy", "new"],
)
def test_a_setting_that_the_checkpoint_has_not_is_noted(tmp_path, part):
    todays = {"num_env_runners": 2, "num_epochs": 1, "policy_mapping_fn": None}
    upgraded = upgrade_checkpoint(part, tmp_path / "c", config={"lrr": 1, "lr": 0.5, **todays})
    told = [str(note) for note in upgraded.notes if "is no setting" in note.reason]
    assert len(told) == 1
    assert told[0].startswith(
        "config/lrr: it is no setting of the stored configuration, such as lr"
    )


def test_policies_of_the_callers_count_as_they_are(tmp_path):
    from ray.rllib.policy.policy import PolicySpec

    told = {"env": None, "policies": {"pol1": PolicySpec(config={"lr": 0.5}), "pol2": None}}
    upgrade_checkpoint(one("ray2.10.0").path, tmp_path / "b", config=told)
    state = pickle.loads((tmp_path / "b" / "algorithm_state.pkl").read_bytes())
    found = state["config"]["policies"]
    assert found["pol1"].config == {"lr": 0.5}
    assert found["pol2"][1].shape == (4,)


def test_a_function_of_the_callers_is_in_the_file(tmp_path):
    def mapping(agent_id, *args, **kwargs):
        return "pol2"

    config = {"policy_mapping_fn": mapping}
    upgrade_checkpoint(one("ray2.10.0").path, tmp_path / "c", config=config)
    file = tmp_path / "c" / "algorithm_state.pkl"
    state = pickle.loads(file.read_bytes())
    assert state["worker"]["policy_mapping_fn"]("agent") == "pol2"


def _algorithm(tmp_path, name, policy="PPOTorchPolicy", **config):
    told = {"env": "CartPole-v1", **config}
    state = {"algorithm_class": name, "config": told, "worker": {}, "counters": {}}
    spec = {"policy_class": policy, "config": told}
    spaces = {
        "observation_space": gym.spaces.Box(-1, 1, (2,)),
        "action_space": gym.spaces.Discrete(2),
    }
    weights = {"_logits._model.0.weight": np.zeros((2, 2), "f4")}
    folder = tmp_path / "a" / "policies" / "default_policy"
    folder.mkdir(parents=True)
    policy_state = {"weights": weights, "policy_spec": {**spec, **spaces}, "global_timestep": 0}
    (folder / "policy_state.pkl").write_bytes(cloudpickle.dumps(policy_state))
    (tmp_path / "a" / "algorithm_state.pkl").write_bytes(cloudpickle.dumps(state))
    return tmp_path / "a"


@pytest.mark.parametrize("name", ["ray.rllib.algorithms.a2c.a2c.A2C", "ray.rllib.agents.ddpg.TD3"])
def test_algorithms_that_ray_removed_are_told(tmp_path, name):
    with pytest.raises(UnsupportedStateError, match=r"Ray has no (A2C|TD3) since 2\.11") as caught:
        upgrade_checkpoint(_algorithm(tmp_path, name), tmp_path / "b")
    assert str(caught.value).endswith("pass that one's configuration as config=")
    assert not (tmp_path / "b").exists()


def test_an_algorithm_that_nothing_names_is_told(tmp_path):
    with pytest.raises(UnsupportedStateError, match="nothing names the algorithm; pass the conf"):
        upgrade_checkpoint(_algorithm(tmp_path, None), tmp_path / "b")


def test_an_algorithm_of_the_users_own_stays_what_it_is(tmp_path):
    upgrade_checkpoint(_algorithm(tmp_path, "tests.agents.MyPPO"), tmp_path / "b")
    file = tmp_path / "b" / "algorithm_state.pkl"
    assert "tests.agents:MyPPO" in list_globals(file.read_bytes(), file="f")
    own = given().algorithm_for("tests.agents:MyPPO", Opaque("tests.agents", "MyConfig", ()))
    assert (own.cls.name, own.config.name) == ("tests.agents:MyPPO", "tests.agents:MyConfig")


def test_removed_settings_that_said_something_are_told(tmp_path):
    path = _algorithm(tmp_path, "ray.rllib.algorithms.ppo.ppo.PPO", horizon=200, soft_horizon=False)
    upgraded = upgrade_checkpoint(path, tmp_path / "b")
    told = [str(note) for note in upgraded.notes if note.path.startswith("config")]
    assert told == ["config/horizon: 200: Ray 2.60 has no such setting"]


def test_a_policy_without_its_class_keeps_its_spaces(tmp_path):
    cls = type("Own", (), {"__module__": "__main__"})  # whose code is in the file
    config = {"gamma": 0.5, "num_workers": 1}
    specs = {"p": (cls, gym.spaces.Discrete(3), gym.spaces.Discrete(2), config)}
    path = _algorithm(tmp_path, "ray.rllib.algorithms.ppo.ppo.PPO", policies=specs)
    upgraded = upgrade_checkpoint(path, tmp_path / "b")
    state = pickle.loads((tmp_path / "b" / "algorithm_state.pkl").read_bytes())
    (spec,) = state["config"]["policies"].values()
    told = {"gamma": 0.5, "num_env_runners": 1}
    assert spec == (None, gym.spaces.Discrete(3), gym.spaces.Discrete(2), told)
    assert "config/policies/p/policy_class" in [note.path for note in upgraded.notes]


def test_a_window_keeps_its_length(tmp_path):
    path = _algorithm(tmp_path, "ray.rllib.algorithms.ppo.ppo.PPO", mine=deque([1, 2], maxlen=3))
    upgrade_checkpoint(path, tmp_path / "b")
    state = pickle.loads((tmp_path / "b" / "algorithm_state.pkl").read_bytes())
    assert state["config"]["mine"].maxlen == 3


def test_what_is_in_any_kind_of_dict_is_restated_and_no_stand_in_is_written(tmp_path):
    space = gym.spaces.Discrete(3)
    told = {"ordered": OrderedDict(a=space, b=len), "default": defaultdict(list, a=[space])}
    path = _algorithm(tmp_path, "ray.rllib.algorithms.ppo.ppo.PPO", env_config=told)
    upgrade_checkpoint(path, tmp_path / "b")
    data = (tmp_path / "b" / "algorithm_state.pkl").read_bytes()
    found = pickle.loads(data)["config"]["env_config"]
    assert found == told
    assert found["default"]["new"] == []
    with pytest.raises(UnsupportedStateError, match="builtins:len is not to be imported"):
        pickling.dumps(loads_inert(pickle.dumps([len]), file="f"))


def test_a_space_that_cannot_be_written_is_named(tmp_path):
    space = gym.spaces.OneOf([gym.spaces.Discrete(2)])
    path = _algorithm(tmp_path, "ray.rllib.algorithms.ppo.ppo.PPO", observation_space=space)
    with pytest.raises(UnsupportedStateError, match="spaces of the kind 'oneof'"):
        upgrade_checkpoint(path, tmp_path / "b")


def test_a_replay_buffers_contents_are_noted(tmp_path):
    path = _algorithm(tmp_path, "ray.rllib.algorithms.dqn.dqn.DQN", "DQNTorchPolicy")
    file = path / "algorithm_state.pkl"
    state = pickle.loads(file.read_bytes()) | {"local_replay_buffer": {"_storage": [1]}}
    file.write_bytes(cloudpickle.dumps(state))
    upgraded = upgrade_checkpoint(path, tmp_path / "b")
    assert [note.path for note in upgraded.notes] == ["local_replay_buffer"]


def test_a_setting_of_minus_one_counts_where_it_may_be_one(tmp_path):
    told = {"v_min": -1, "v_max": 10.0, "num_atoms": 5, "replay_mode": -1}
    path = _algorithm(tmp_path, "ray.rllib.algorithms.dqn.dqn.DQN", "DQNTorchPolicy", **told)
    v_min = load_config(upgrade_checkpoint(path, tmp_path / "b"))["v_min"]
    assert v_min != -1  # Ray would leave it out ...
    assert np.float32(v_min) == np.float32(-1)  # ... and computes with this


def test_another_algorithms_configuration_is_refused(tmp_path):
    class DQNConfig:
        def get_state(self):
            return {"lr": 0.5}

    class MyDQNConfig(DQNConfig):
        pass

    path = _algorithm(tmp_path, "ray.rllib.algorithms.ppo.ppo.PPO")
    with pytest.raises(InvalidArgumentError, match=r"config='DQNConfig' .* be: PPOConfig, a dict"):
        upgrade_checkpoint(path, tmp_path / "b", config=MyDQNConfig())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("appo.appo_catalog:APPOCatalog", "ppo.ppo_catalog:PPOCatalog"),
        ("dqn.dqn_rainbow_catalog:DQNRainbowCatalog", "dqn.dqn_catalog:DQNCatalog"),
    ],
)
def test_catalogs_are_found_where_they_went(old, new):
    assert moved(f"ray.rllib.algorithms.{old}") == f"ray.rllib.algorithms.{new}"


def test_of_the_metrics_those_that_outlive_an_iteration_are_carried():
    stats = {
        ("env_runners", "steps_lifetime"): {"reduce": "sum", "clear_on_reduce": False},
        ("env_runners", "steps"): {"reduce": "sum", "clear_on_reduce": True},
        ("env_runners", "return_mean"): {"reduce": "mean", "window": 100},
        ("learners", "loss"): {"reduce": "mean", "window": 1},
        ("timers", "sample"): {"reduce": "mean", "window": None, "ema_coeff": 0.01},
        ("env_runners", "texts"): {"reduce": None, "window": 100},
        "today": {"stats_cls_identifier": "ema"},
    }
    found = carried({"stats": stats})["stats"]
    assert [*found] == ["env_runners--steps_lifetime", "env_runners--return_mean", "today"]


def test_policies_of_a_removed_algorithm_become_those_of_one_with_the_same_models(tmp_path):
    path = _algorithm(tmp_path, "ray.rllib.algorithms.pg.pg.PG", "PGTorchPolicy")
    upgraded = upgrade_checkpoint(path / "policies" / "default_policy", tmp_path / "b")
    assert str(upgraded.notes[0]).endswith("PPOTorchPolicy has the same models")
    np.testing.assert_equal(load_weights(upgraded), load_weights(path))


def test_settings_of_ray_1_lead_to_todays(tmp_path):
    old = {
        **{"num_workers": 2, "min_iter_time_s": 7, "buffer_size": 500, "prioritized_replay": True},
        **{"framework": "torch", "lambda": 0.9, "learning_starts": 100},
        "multiagent": {"policies": {"default_policy": (None, None, None, {"num_workers": 1})}},
    }
    path = _algorithm(tmp_path, "ray.rllib.agents.dqn.dqn.DQNTrainer", "DQNTorchPolicy", **old)
    config = load_config(upgrade_checkpoint(path, tmp_path / "b"))
    assert (config["num_env_runners"], config["min_time_s_per_iteration"]) == (2, 7)
    assert config["replay_buffer_config"]["capacity"] == 500
    assert config["num_steps_sampled_before_learning_starts"] == 100
    assert (config["framework_str"], config["lambda_"]) == ("torch", 0.9)
    assert config["policies"]["default_policy"][3] == {"num_env_runners": 1}


def test_the_configuration_of_version_0_1_is_found_beside_it(tmp_path):
    shutil.copytree(one("synthetic").path, tmp_path / "trial" / "checkpoint_10")
    params = {"lr": 0.25, "model": {"fcnet_hiddens": [8, 8]}, "env": "CartPole-v1"}
    (tmp_path / "trial" / "params.json").write_text(json.dumps(params))
    upgraded = upgrade_checkpoint(tmp_path / "trial" / "checkpoint_10", tmp_path / "b")
    assert load_config(upgraded)["lr"] == 0.25
    assert not upgraded.notes


@pytest.mark.parametrize(
    ("old", "new"),
    [("AsyncPPOTorchPolicy", "APPOTorchPolicy"), ("VTraceTorchPolicy", "ImpalaTorchPolicy")],
)
def test_what_ray_1_called_policies_is_what_ray_calls_them_now(tmp_path, old, new):
    upgraded = upgrade_checkpoint(of_ray_1(tmp_path / "t", old, {}), tmp_path / "b")
    policy = tmp_path / "b" / "policies" / "default_policy"
    (member,) = members(find(policy)).values()
    assert (member.cls, [note.path for note in upgraded.notes]) == (new, ["config/env"])


def test_of_the_model_the_weights_tell_what_tune_did_not_write(tmp_path):
    path = of_ray_1(tmp_path / "t", "PPOTorchPolicy", {"model": {"fcnet_hiddens": [8, 8]}})
    model = load_config(upgrade_checkpoint(path, tmp_path / "b"))["model"]
    assert model == {"fcnet_hiddens": [8, 8], "vf_share_layers": False}


@pytest.mark.parametrize(
    ("policy", "buffer"),
    [
        ("DQNTorchPolicy", "MultiAgentPrioritizedReplayBuffer"),
        ("SACTorchPolicy", "MultiAgentReplayBuffer"),
    ],
)
def test_a_replay_buffer_that_nobody_chose_is_the_old_stacks(tmp_path, policy, buffer):
    told = {"replay_buffer_config": {"capacity": 70}}
    path = of_ray_1(tmp_path / "t", policy, told if policy == "DQNTorchPolicy" else {})
    upgraded = upgrade_checkpoint(path, tmp_path / "b")
    state = pickle.loads((tmp_path / "b" / "algorithm_state.pkl").read_bytes())
    found = state["config"]["replay_buffer_config"]
    assert found["type"].__name__ == buffer
    assert found["capacity"] == (70 if policy == "DQNTorchPolicy" else 50000)
    assert [note.path for note in upgraded.notes] == ["config/env"]


def test_a_buffer_of_the_new_stack_is_none_for_the_old_one():
    kind = "MultiAgentReplayBuffer"
    todays = {"type": "PrioritizedEpisodeReplayBuffer", "capacity": 70, "alpha": 0.5}
    assert of_old_stack(todays, kind) == {"type": kind, "capacity": 70}
    told = {"type": "ReplayBuffer", "storage_unit": "timesteps"}
    assert of_old_stack(told, kind) == told


def test_without_one_the_model_is_as_the_weights_tell(tmp_path):
    upgraded = upgrade_checkpoint(one("synthetic").path, tmp_path / "b")
    model = load_config(upgraded)["model"]
    assert (model["fcnet_hiddens"], model["vf_share_layers"]) == ([8, 8], False)
    assert "pass config=" in str(upgraded.notes[0])


def test_optimizers_know_their_modules(tmp_path):
    upgrade_checkpoint(one("ray2.30.0").path, tmp_path / "c")
    state = pickle.loads((tmp_path / "c/learner_group/learner/state.pkl").read_bytes())
    assert {name: item["module_id"] for name, item in state["optimizer"].items()} == {
        "p0_default_optimizer": "p0",
        "p1_default_optimizer": "p1",
    }


def test_optimizers_and_iteration_are_where_ray_2_5_had_them(tmp_path):
    (case,) = (case for case in OTHERS if case.name == "ray2.5.1-hybrid-ppo")
    upgraded = upgrade_checkpoint(case.path, tmp_path / "c")
    state = pickle.loads((tmp_path / "c/learner_group/learner/state.pkl").read_bytes())
    told = {name: item["module_id"] for name, item in state["optimizer"].items()}
    assert told == {"default_policy_default_optimizer": "default_policy"}
    assert load_counters(upgraded)["training_iteration"] == 1


def test_a_network_that_ray_no_longer_builds_is_refused():
    names = ("encoder.actor_encoder.net.2.bias", "encoder.linear.weight", "encoder.net.mlp.2.bias")
    theirs = SimpleNamespace(weights=dict.fromkeys(names, 0), cls="ray.rllib.m.PPOTorchRLModule")
    with pytest.raises(UnsupportedStateError, match=r"Ray 2\.5's encoders end in") as told:
        upgraded_weights(theirs)
    assert [fault.path for fault in told.value.faults] == [*names[:2]]
    mine = SimpleNamespace(weights=theirs.weights, cls="mine.Module")
    assert upgraded_weights(mine) == mine.weights


@pytest.mark.parametrize("name", ["DDPG", "R2D2"])
def test_a_policy_that_ray_no_longer_has_is_refused(tmp_path, name):
    path = _algorithm(tmp_path, "PPO", f"{name}TorchPolicy")
    with pytest.raises(UnsupportedStateError, match=f"Ray has no {name} since 2"):
        upgrade_checkpoint(path / "policies" / "default_policy", tmp_path / "b")


def test_an_optimizer_of_several_modules_knows_that():
    found = restated_optimizers({"__all_modules___default_optimizer": {"state": {}}}, {})
    assert {name: told["module_id"] for name, told in found.items()} == {
        "__all_modules___default_optimizer": "__all_modules__"
    }


def test_weights_have_the_names_of_today_and_optimizers_no_copies():
    old = {"pi.w": 1, "vf.w": 2, "old_pi.w": 3}
    names = newest_names(old, "ray.rllib.algorithms.appo.torch:APPOTorchRLModule")
    assert names == {"pi.w": 1, "vf.w": 2, "_old_pi.w": 3}
    assert newest_names(names, "DefaultAPPOTorchRLModule") == names
    assert newest_names({"encoder.w": 1, "pi.w": 2}, "BCTorchRLModule") == {
        "_encoder.w": 1,
        "_pi_head.w": 2,
    }
    assert newest_names(old, "PPOTorchRLModule") is old
    optimizer = {"param_groups": [{"params": [0, 1, 2], "lr": 0.5}], "state": {1: "s", 2: "t"}}
    expected = {"param_groups": [{"params": [0, 1], "lr": 0.5}], "state": {1: "s"}}
    assert without_copies(optimizer, [*names]) == expected
    assert without_copies(optimizer, ["pi.w"]) is optimizer


def test_a_model_with_an_encoder_is_no_module_where_the_configuration_says_so():
    weights = {"encoder.0.weight": np.zeros((2, 4), np.float32)}
    for config, expected in (({}, True), ({"_enable_rl_module_api": False}, False)):
        spec = {"policy_class": "PPOTorchPolicy", "config": config}
        state = {"weights": weights, "policy_spec": spec}
        assert Policy("f", lambda state=state: state).has_module is expected


def test_a_policy_with_a_module_in_it_becomes_the_module(tmp_path):
    path = one("ray2.7.1").path / "policies" / "default_policy"
    upgraded = upgrade_checkpoint(path, tmp_path / "c")
    assert get_checkpoint_info(upgraded)["type"] == "RLModule"
    np.testing.assert_equal(load_weights(upgraded), load_weights(path))


@pytest.mark.parametrize("name", ["ray2.7.1", "ray2.10.0", "ray2.40.0-py3.10-new"])
def test_an_upgrade_is_the_same_where_ray_is_not_installed(tmp_path, monkeypatch, name):
    path = one(name).path
    here = upgrade_checkpoint(path, tmp_path / "a")
    monkeypatch.setattr(moves.PathFinder, "find_spec", lambda name: None)
    there = upgrade_checkpoint(path, tmp_path / "b")
    assert [*map(str, there.notes)] == [*map(str, here.notes)]
    assert _bytes(tmp_path / "b") == _bytes(tmp_path / "a")


def _bytes(folder):
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder): file.read_bytes() for file in files}


def test_the_new_folder_must_be_empty_and_the_configuration_one(tmp_path):
    path = one("ray2.10.0").path
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(StorageError, match="the folder is not empty"):
        upgrade_checkpoint(path, tmp_path / "full")
    with pytest.raises(InvalidArgumentError):
        upgrade_checkpoint(path, tmp_path / "c", config=3)
    with pytest.raises(NotACheckpointError):
        upgrade_checkpoint(tmp_path / "full", tmp_path / "c")


def test_damage_leaves_nothing_behind(tmp_path):
    shutil.copytree(one("ray2.10.0").path, tmp_path / "a")
    (tmp_path / "a" / "policies" / "pol2" / "policy_state.pkl").write_bytes(b"\x80\x05")
    with pytest.raises(CorruptDataError, match=r"pol2/policy_state\.pkl"):
        upgrade_checkpoint(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_any_filesystem_will_do(tmp_path):
    shutil.copytree(one("ray2.10.0").path, tmp_path / "a")
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    upgrade_checkpoint("a", "b", filesystem=store)
    np.testing.assert_equal(load_weights(tmp_path / "b"), load_weights(tmp_path / "a"))


# -------------------------------------------------------------------------------- in RLlib itself


def _classes_of_algorithms():
    for row in ALGORITHMS.values():
        yield from (row.cls.name, row.config.name, row.module.name, row.catalog.name)
        if row.buffer:
            yield f"ray.rllib.utils.replay_buffers:{row.buffer}"


@pytest.mark.slow
def test_the_tables_lead_to_what_ray_has():
    from ray.rllib.algorithms.registry import ALGORITHMS as THEIRS
    from ray.rllib.algorithms.registry import get_policy_class

    known = {"train_batch_size_per_learner"}
    for make in THEIRS.values():
        known |= vars(make()[1]).keys()
    assert {newest(key) for key in RENAMED} - known == set()
    assert not known & REMOVED_ALGORITHMS.keys()
    for name in (*MOVED.values(), *_classes_of_algorithms()):
        Reference(name).resolve([name])
    found = [name for name in ALGORITHM_OF_POLICY if get_policy_class(name) is not None]
    assert "PPOTorchPolicy" in found


@pytest.fixture
def scored(ray_session, tmp_path):
    """Tell what becomes of a case in Ray itself."""
    register_environments()

    def of(case):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # RLlib's own
            return score(case, tmp_path, upgrade_checkpoint)

    return of


@pytest.mark.slow
@pytest.mark.parametrize("case", COMMITTED, ids=lambda case: case.name)
def test_ray_loads_it_with_equal_weights_and_outputs_and_goes_on(scored, case):
    row = scored(case)
    assert "error" not in row, row
    assert row["loaded"]
    assert row["weights"]
    assert row["output error"] < 1e-6
    assert row["type"] != "Algorithm" or row["trained"]


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.name)
def test_other_algorithms_go_on_too(scored, case):
    row = scored(case)
    assert "error" not in row, row
    assert row["weights"]
    assert row["trained"] == "iteration 1 to 2"
