"""RLlib's own question, answered for every generation without RLlib."""

import json
import os
import pickle
import shutil

import pytest
from pyarrow import fs

import tune_ckpt
from tests.rllib.cases import COMMITTED, every_case, one
from tune_ckpt.errors import CorruptCheckpointError, CorruptDataError, NotACheckpointError
from tune_ckpt.rllib import CheckpointVersion, get_checkpoint_info

KEYS = [
    *("type", "format", "checkpoint_version", "checkpoint_dir", "state_file"),
    *("policy_ids", "module_ids"),
]


def _sorted(info):
    return {key: sorted(value) if isinstance(value, set) else value for key, value in info.items()}


@every_case
def test_the_answer_is_that_of_its_own_ray(case):
    found = _sorted(get_checkpoint_info(case.path, details=False))
    assert list(found)[: len(KEYS)] == KEYS
    assert case.info.items() <= found.items()


@every_case
def test_more_is_told_where_it_is_known(case):
    found, expected = get_checkpoint_info(case.path), case.expected
    assert expected["python_version"].startswith(found.get("python_version", ""))
    if "algorithm_class" in expected:
        assert found["class"].replace(":", ".") == expected["algorithm_class"]
        assert found["algorithm"] == expected["algo"]
    if expected.get("module_ids"):
        assert sorted(found["module_ids"]) == expected["module_ids"]
    if "env" in expected.get("config", {}) and isinstance(expected["config"]["env"], str):
        name = expected["config"]["env"].removeprefix("<class '").removesuffix("'>")
        assert found["env"].rpartition(":")[2] in name.rpartition(".")[2] + name
    ids = expected["policy_ids"] or expected.get("module_ids")
    if ids:
        assert sorted(found["parameters"]) == sorted(found["spaces"]) == sorted(ids)


@pytest.mark.slow
@every_case
def test_rllib_itself_says_the_same(case, ray_session):
    from ray.rllib.utils.checkpoints import get_checkpoint_info as rllib_get_checkpoint_info

    if case.expected["type"] == "RLModule":
        pytest.skip("RLlib has no answer for modules")
    theirs = rllib_get_checkpoint_info(str(case.path))
    ours = get_checkpoint_info(case.path, details=False)
    # RLlib tells its own version of policies' checkpoints; and those of 0.1 by their file's name.
    told_wrong = {"checkpoint_version"} if case.expected["type"] == "Policy" else set()
    for key in theirs.keys() - told_wrong - {"module_ids", "state_file", "policy_ids"}:
        assert ours[key] == theirs[key], key
    assert ours["state_file"].endswith(theirs["state_file"])
    assert ours["policy_ids"] == (None if theirs["policy_ids"] is None else {*theirs["policy_ids"]})
    assert ours["module_ids"] == theirs["module_ids"] or ours["checkpoint_version"] == "1.2"


TREE = {
    "": "Algorithm",
    "env_runner": "EnvRunner",
    "env_runner/env_to_module_connector": "ConnectorPipelineV2",
    "learner_group": "LearnerGroup",
    "learner_group/learner": "Learner",
    "learner_group/learner/state.msgpack": "Learner",
    "learner_group/learner/rl_module": "MultiRLModule",
    "learner_group/learner/rl_module/p0": "RLModule",
    "learner_group/learner/rl_module/p0/metadata.json": "RLModule",
    "learner_group/learner/rl_module/p0/class_and_ctor_args.pkl": "RLModule",
    "learner_group/learner/rl_module/p0/module_state.msgpack": "RLModule",
}


@pytest.mark.parametrize("part", TREE)
def test_any_level_of_a_tree_is_known(part):
    found = get_checkpoint_info(one("ray2.60.0-py3.13-new-ppo-multi-msgpack").path / part)
    assert (found["type"], found["checkpoint_version"]) == (TREE[part], "2.1")
    assert found["ray_version"] == "2.60.0"


PARTS_OF_1_2 = {
    "learner": ("Learner", "1.2"),
    "learner/module_state": ("MultiRLModule", "1.2"),
    "learner/module_state/default_policy": ("RLModule", "1.2"),
    "learner/module_state/default_policy/module_state_dir": ("RLModule", "1.2"),
    "learner/module_state/default_policy/module_state_dir/module_state.pt": ("RLModule", "1.2"),
    "learner/optimizer_state/default_policy_default_optimizer.pt": ("Optimizer", "0.1"),
    "policies": ("PolicyMap", "1.1"),
    "policies/default_policy": ("Policy", "1.1"),
    "policies/default_policy/policy_state.pkl": ("Policy", "1.1"),
}


@pytest.mark.parametrize("part", PARTS_OF_1_2)
def test_any_level_of_1_2_is_known(part):
    found = get_checkpoint_info(one("ray2.7.1").path / part)
    assert found["type"] == PARTS_OF_1_2[part][0]


@pytest.mark.parametrize("name", ["ray2.10.0", "ray2.43.0", "ray2.60.0-py3.13", "synthetic"])
def test_it_is_the_same_on_any_filesystem(name):
    case = one(name)
    store = fs.SubTreeFileSystem(str(case.folder), fs.LocalFileSystem())
    there, here = get_checkpoint_info("checkpoint", store), get_checkpoint_info(case.path)
    assert there.keys() == here.keys()
    for key in here.keys() - {"checkpoint_dir", "state_file", "spaces"}:
        assert there[key] == here[key]
    file = case.file.relative_to(case.folder).as_posix()
    assert get_checkpoint_info(file, store)["type"] == here["type"]


@pytest.mark.parametrize("name", ["ray2.3.1-py3.8-old-ppo-single", "ray2.43.0"])
def test_paths_may_be_given_in_any_way(name, monkeypatch):
    path = one(name).path
    monkeypatch.chdir(path.parent)
    expected = get_checkpoint_info(path)["state_file"]
    for given in (str(path), f"{path}/", f"file://{path}", os.path.relpath(path)):
        assert get_checkpoint_info(given)["state_file"] == expected


@pytest.mark.parametrize("name", ["ray2.3.1-py3.8-old-ppo-single", "ray2.10.0", "ray2.7.1"])
def test_without_its_metadata_a_checkpoint_is_still_known(name, tmp_path):
    case = one(name)
    shutil.copytree(case.path, tmp_path / "c")
    (tmp_path / "c" / "rllib_checkpoint.json").unlink()
    found = get_checkpoint_info(tmp_path / "c")
    version = "1.2" if name == "ray2.7.1" else case.info["checkpoint_version"]
    assert (found["type"], found["checkpoint_version"]) == ("Algorithm", version)
    assert sorted(found["policy_ids"]) == sorted(case.info["policy_ids"])


def test_a_missing_state_is_an_error(tmp_path):
    case = one("ray2.60.0-py3.13")
    shutil.copytree(case.path, tmp_path / "c")
    (tmp_path / "c" / "algorithm_state.msgpack").unlink()
    with pytest.raises(CorruptCheckpointError, match="algorithm_state: the file is missing"):
        get_checkpoint_info(tmp_path / "c", details=False)


@pytest.mark.parametrize("part", ["", "metadata.json"])
def test_a_checkpoint_of_ours_is_none_of_rllibs(tmp_path, part):
    tune_ckpt.save_state({"a": 1}, tmp_path / "c")
    with pytest.raises(NotACheckpointError, match="tune_ckpt wrote it"):
        get_checkpoint_info(tmp_path / "c" / part)


def test_metadata_of_something_else_are_refused(tmp_path):
    (tmp_path / "metadata.json").write_text("{}")
    with pytest.raises(NotACheckpointError, match="none of RLlib's state files"):
        get_checkpoint_info(tmp_path / "metadata.json")


def test_a_file_that_is_no_state_is_refused(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(NotACheckpointError, match="no state of RLlib's"):
        get_checkpoint_info(tmp_path / "x.pkl")
    (tmp_path / "notes.md").write_text("# Notes")
    with pytest.raises(NotACheckpointError, match="none of RLlib's"):
        get_checkpoint_info(tmp_path / "notes.md")
    (tmp_path / "state.pkl").write_text("# Notes")
    with pytest.raises(CorruptDataError):  # it has the name of one
        get_checkpoint_info(tmp_path / "state.pkl")


@pytest.mark.parametrize(("part", "kind"), [("", "LearnerGroup"), ("learner", "Learner")])
def test_a_component_of_the_users_own_class_is_known_by_what_is_below(tmp_path, part, kind):
    case = one("ray2.40.0-py3.10-new-ppo-single")
    shutil.copytree(case.path / "learner_group", tmp_path / "mine")
    stored = {"class": Mine, "ctor_args_and_kwargs": ((), {})}
    file = tmp_path / "mine" / part / "class_and_ctor_args.pkl"
    file.write_bytes(pickle.dumps(stored))
    assert get_checkpoint_info(file.parent)["type"] == kind


def test_types_are_told_by_classes_where_states_have_no_names_of_their_own(tmp_path):
    # Whatever RLlib calls the state's file.
    case = one("ray2.40.0-py3.10-new-ppo-single")
    shutil.copytree(case.path, tmp_path / "c")
    module = "learner_group/learner/rl_module/default_policy"
    for part, kind in (("", "Algorithm"), (module, "RLModule")):
        (file,) = (tmp_path / "c" / part).glob("*_state.p*")
        name = f"state{file.suffix}"
        file.rename(file.parent / name)
        (metadata,) = file.parent.glob("*.json")
        told = {**json.loads(metadata.read_text()), "state_file": name}
        metadata.write_text(json.dumps(told))
        assert get_checkpoint_info(file.parent)["type"] == kind
    assert get_checkpoint_info(tmp_path / "c")["parameters"] == {"default_policy": 141}


class Mine:
    pass


def test_the_answer_is_json_but_for_arrays_and_sets():
    found = get_checkpoint_info(one("ray2.10.0").path, details=False)
    assert json.loads(json.dumps({**found, "policy_ids": None}))["checkpoint_version"] == "1.1"


def test_versions_compare_as_numbers():
    version = pytest.importorskip("packaging.version").Version
    ours = CheckpointVersion("1.10")
    assert ours > "1.9"
    assert ours > version("1.9")
    assert version("1.9") < ours
    assert version("1.10") == ours == "1.10"
    assert version("2.0") > ours != version("1.1")
    assert version("1.10") <= ours <= "1.10" <= ours
    assert (ours.major, ours.minor, str(ours), {ours}) == (1, 10, "1.10", {"1.10"})


def test_it_is_a_public_name():
    assert tune_ckpt.get_checkpoint_info is get_checkpoint_info


def test_the_committed_cases_have_every_version():
    found = [get_checkpoint_info(case.path, details=False) for case in COMMITTED]
    versions = {str(info["checkpoint_version"]) for info in found}
    assert versions == {"0.1", "1.0", "1.1", "1.2", "2.0", "2.1"}
