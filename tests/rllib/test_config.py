"""Configurations of every generation, as plain data."""

import json
import pickle
import shutil
from collections import OrderedDict, deque

import pytest

from tests.rllib.cases import CASES, every_case, one
from tune_ckpt.errors import NotACheckpointError, NotInCheckpointError
from tune_ckpt.formats.pickle import Opaque, holds_opaque
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib import load_config, load_weights, upgrade_checkpoint

CONFIGURED = [case for case in CASES if "config" in case.expected]
PLAIN = (*("lr", "gamma", "seed", "num_env_runners", "train_batch_size", "env_config"), "model")


@pytest.mark.parametrize("case", CONFIGURED, ids=lambda case: case.name)
def test_it_is_what_its_own_ray_says(case):
    found, expected = load_config(case.path), case.expected["config"]
    for key in PLAIN:
        if key in expected and key in found:
            assert found[key] == expected[key]
    assert found.get("framework_str", found.get("framework")) == expected["framework_str"]


@every_case
def test_nothing_in_it_is_left_as_a_record(case):
    if case.name.startswith("synthetic"):
        pytest.skip("version 0.1 has none")
    assert not holds_opaque(load_config(case.path))


def test_code_is_listed_by_its_name():
    found = load_config(one("ray2.10.0").path)
    assert found["policy_mapping_fn"] == Reference("__main__:mapping_fn")
    assert found["env"] == Reference("ray.rllib.env.multi_agent_env:MultiEnv")
    assert found["callbacks_class"] == Reference("ray.rllib.algorithms.callbacks:DefaultCallbacks")
    assert found["torch_compile_learner_what_to_compile"] == "forward_train"


def test_every_part_has_its_own():
    path = one("ray2.60.0-py3.13").path
    for part in (path / "env_runner", path / "learner_group", path / "learner_group" / "learner"):
        assert load_config(part)["lr"] == load_config(path)["lr"] == 0.0005
    module = load_config(path / "learner_group" / "learner" / "rl_module" / "p0")
    assert module["model_config"]["fcnet_hiddens"] == [8, 8]
    assert load_config(one("ray2.3.1-py3.8-old-ppo-single_policy").path)["lr"] == 0.0005


def test_version_0_1_says_where_it_is_instead():
    with pytest.raises(NotInCheckpointError, match=r"params\.pkl.*upgrade_checkpoint\(old, new\)"):
        load_config(one("synthetic").path)


@pytest.mark.parametrize("suffix", ["pkl", "json"])
def test_of_version_0_1_the_upgraded_one_tells_what_tune_wrote_beside(tmp_path, suffix):
    path = shutil.copytree(one("synthetic").path, tmp_path / "trial" / "checkpoint_10")
    file = tmp_path / "trial" / f"params.{suffix}"
    told = {"lr": 0.25, "framework": "torch"}
    file.write_bytes(pickle.dumps(told) if suffix == "pkl" else json.dumps(told).encode())
    assert load_config(upgrade_checkpoint(path, tmp_path / "new"))["lr"] == 0.25
    for read in (load_config, load_weights):
        with pytest.raises(NotACheckpointError, match="pass the checkpoint beside it"):
            read(file)


class Fields:
    def __init__(self, **fields):
        vars(self).update(fields)


def _loaded(tmp_path, config):
    state = {"algorithm_class": None, "config": config}
    (tmp_path / "algorithm_state.pkl").write_bytes(pickle.dumps(state))
    return load_config(tmp_path)


def test_objects_with_fields_become_dicts_and_others_stay_records(tmp_path):
    config = {"a": Fields(x=1, y=Fields(z=(2, 3))), "b": Odd("text"), "c": len}
    config |= {"d": OrderedDict(e=len), "f": deque([len], 2)}
    found = _loaded(tmp_path, config)
    assert found["a"] == {"x": 1, "y": {"z": (2, 3)}}
    assert isinstance(found["b"], Opaque)
    assert found["c"] == Reference("builtins:len")
    assert (found["d"], found["f"]) == ({"e": found["c"]}, deque([found["c"]], 2))


def test_objects_with_fields_stay_records_where_no_dict_can_be(tmp_path):
    found = _loaded(tmp_path, {"keys": {Fields(x=1): 1}, "items": {Fields(x=2)}})
    assert isinstance(next(iter(found["keys"])), Opaque)
    assert isinstance(next(iter(found["items"])), Opaque)


class Odd:
    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return Odd, (self.text,)


def test_what_holds_itself_is_left_where_it_begins_again(tmp_path):
    config = Fields(x=1)
    config.itself = config
    found = _loaded(tmp_path, config)
    assert found["x"] == 1
    assert isinstance(found["itself"]["itself"], Opaque)
