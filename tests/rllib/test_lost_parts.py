"""Checkpoints that lost whole folders: whoever needs one says so, and `verify` does in any case."""

import shutil

import numpy as np
import pytest

from tests.rllib.cases import every_committed_case, one
from tune_ckpt import verify
from tune_ckpt.errors import CorruptCheckpointError, CorruptDataError, NotInCheckpointError
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib import (
    convert_to_msgpack_checkpoint,
    get_checkpoint_info,
    load_config,
    load_counters,
    load_spaces,
    load_weights,
    upgrade_checkpoint,
)
from tune_ckpt.rllib.converting import pickling
from tune_ckpt.rllib.reading.finding import find
from tune_ckpt.rllib.restoring.choosing import choose
from tune_ckpt.tree.inspection.foreign import open_folder
from tune_ckpt.tree.inspection.told_members import check_members
from tune_ckpt.tree.storage.store import open_store

WRITERS = (upgrade_checkpoint, convert_to_msgpack_checkpoint)
RLLIBS_OWN = "ray2.60.0-py3.11-new-ppo-single-meanstd"


def _without(case, path, *lost):
    shutil.copytree(case.path, path)
    for name in lost:
        shutil.rmtree(path / name)
    return path


@every_committed_case
def test_a_whole_one_misses_nothing(case):
    assert verify(case.path).ok


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("ray2.40.0-py3.10-new-ppo-single", "learner_group"),
        (RLLIBS_OWN, "learner_group/learner"),
        ("ray2.60.0-py3.13", "learner_group/learner/rl_module"),
        ("ray2.30.0", "learner"),
        ("ray2.30.0", "learner/module_state"),
        ("ray2.7.1", "learner/module_state"),
    ],
)
def test_an_algorithm_without_its_modules_is_not_written_again(tmp_path, name, lost):
    path = _without(one(name), tmp_path / "a", lost)
    for write in WRITERS:
        with pytest.raises(NotInCheckpointError, match="has neither policies nor modules"):
            write(path, tmp_path / "b")
        assert not (tmp_path / "b").exists()
    assert lost in [fault.path for fault in verify(path).faults]


def test_an_algorithm_whose_modules_folder_holds_none_is_told(tmp_path):
    modules = "learner_group/learner/rl_module"
    path = _without(one(RLLIBS_OWN), tmp_path / "a", f"{modules}/default_policy")
    (fault,) = verify(path).faults
    assert str(fault) == f"{modules}: the folder is missing or empty"


@pytest.mark.parametrize("name", ["ray2.10.0", "ray2.4.0"])
def test_a_policy_that_the_metadata_list_is_missed(tmp_path, name):
    path = _without(one(name), tmp_path / "a", "policies/pol2")
    for read in (load_weights, load_spaces, get_checkpoint_info):
        with pytest.raises(CorruptDataError, match=r"policies/pol2: it is missing, though rllib_"):
            read(path)
    for write in WRITERS:
        with pytest.raises(CorruptDataError, match=r"policies/pol2: it is missing, though rllib_"):
            write(path, tmp_path / "b")
    (fault,) = verify(path).faults
    assert str(fault) == "policies/pol2: the folder is missing or empty"


def test_the_other_policies_are_still_read(tmp_path):
    case = one("ray2.10.0")
    path = _without(case, tmp_path / "a", "policies/pol2")
    np.testing.assert_equal(load_weights(path, "pol1"), load_weights(case.path, "pol1"))
    with pytest.raises(CorruptDataError, match=r"policies/pol2: it is missing"):
        load_weights(path, "pol2")


def test_all_policies_that_are_missing_are_named(tmp_path):
    path = _without(one("ray2.10.0"), tmp_path / "a", "policies")
    with pytest.raises(CorruptDataError, match=r"policies/pol1: .* lists this policy; so are pol2"):
        load_weights(path)
    paths = [fault.path for fault in verify(path).faults]
    assert paths == ["policies/pol1", "policies/pol2"]


def test_a_folder_of_a_policy_without_files_is_missed(tmp_path):
    path = _without(one("ray2.10.0"), tmp_path / "a", "policies/pol2")
    (path / "policies" / "pol2").mkdir()
    assert not verify(path).ok
    with pytest.raises(CorruptDataError, match="policies/pol2"):
        load_weights(path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ray2.3.1-py3.8-old-ppo-single", "algorithm_state.pkl"),
        ("ray2.10.0", "algorithm_state.pkl"),
        ("ray2.3.1-py3.8-old-ppo-single_policy", "policy_state.pkl"),
    ],
)
def test_a_state_whose_metadata_are_still_there_is_missed(tmp_path, name, file):
    path = _without(one(name), tmp_path / "a")
    (path / file).unlink()
    assert f"{file}: it is missing" in map(str, verify(path).faults)
    for read in (get_checkpoint_info, load_weights, load_counters):
        with pytest.raises(CorruptCheckpointError, match=f"- {file}: the file is missing"):
            read(path)


@pytest.mark.parametrize("nbytes", [3000, 0])
def test_the_one_file_of_version_0_1_is_verified(tmp_path, nbytes):
    path = _without(one("synthetic"), tmp_path / "a")
    assert "its files can be parsed" in str(verify(path))
    file = path / "checkpoint-10"
    file.write_bytes(file.read_bytes()[:nbytes])
    assert [fault.path for fault in verify(path).faults] == ["checkpoint-10"]


def test_without_metadata_the_states_of_rllib_are_verified_too(tmp_path):
    path = _without(one("ray2.10.0"), tmp_path / "a")
    (path / "rllib_checkpoint.json").unlink()
    (path / "policies" / "pol1" / "policy_state.pkl").write_bytes(b"cut")
    assert [fault.path for fault in verify(path).faults] == ["policies/pol1/policy_state.pkl"]


@pytest.mark.parametrize("part", ["", "env_runner", "learner_group/learner/rl_module/p0"])
def test_missing_arguments_of_a_constructor_are_named(tmp_path, part):
    path = _without(one("ray2.60.0-py3.13"), tmp_path / "a")
    (path / part / "class_and_ctor_args.pkl").unlink()
    with pytest.raises(CorruptDataError, match="it is missing, though") as raised:
        upgrade_checkpoint(path, tmp_path / "b")
    assert raised.value.file == str(path / part / "class_and_ctor_args.pkl")
    assert load_weights(path).keys() == {"p0", "p1"}  # which do without


def test_an_algorithm_without_its_constructors_arguments_has_no_configuration(tmp_path):
    path = _without(one("ray2.40.0-py3.10-new-ppo-single"), tmp_path / "a")
    (path / "class_and_ctor_args.pkl").unlink()
    for read in (load_config, lambda path: convert_to_msgpack_checkpoint(path, tmp_path / "b")):
        with pytest.raises(CorruptDataError, match=r"it is missing, though rllib_checkpoint\.json"):
            read(path)


def _of_two_policies(folder, **settings):
    """Write what Ray 2.3 does of two policies: no metadata list them."""
    shutil.copytree(one("ray2.3.1-py3.8-old-ppo-single").path, folder)
    shutil.copytree(folder / "policies" / "default_policy", folder / "policies" / "other")
    state = {
        "algorithm_class": Reference("ray.rllib.algorithms.ppo.ppo:PPO"),
        "config": {"env": "CartPole-v1", **settings},
        "worker": {"policy_ids": ["default_policy", "other"], "filters": {}},
    }
    (folder / "algorithm_state.pkl").write_bytes(pickling.dumps(state))
    return folder


def _restore(path, _):
    choose(find(path), None)


@pytest.mark.parametrize("use", [*WRITERS, _restore])
def test_a_policy_of_which_only_the_state_tells_is_missed(tmp_path, use):
    path = _of_two_policies(tmp_path / "a")
    use(path, tmp_path / "whole")
    assert verify(path).ok
    shutil.rmtree(path / "policies" / "other")
    with pytest.raises(CorruptDataError, match=r"policies/other: it is missing, though the state"):
        use(path, tmp_path / "b")
    assert [fault.path for fault in verify(path).faults] == ["policies/other"]
    assert load_weights(path, "default_policy")


def test_a_policy_that_was_never_saved_is_not_missed(tmp_path):
    path = _of_two_policies(tmp_path / "a", checkpoint_trainable_policies_only=True)
    shutil.rmtree(path / "policies" / "other")
    assert verify(path).ok
    upgrade_checkpoint(path, tmp_path / "b")


@pytest.mark.parametrize("use", [*WRITERS, _restore])
@pytest.mark.parametrize("part", ["", "learner_group/learner"])
def test_a_module_of_which_only_its_optimizer_tells_is_missed(tmp_path, use, part):
    lost = "learner_group/learner/rl_module/p1"
    path = _without(one("ray2.60.0-py3.13"), tmp_path / "a", lost)
    with pytest.raises(CorruptDataError, match=f"{lost}: it is missing, though the state"):
        use(path / part, tmp_path / "b")
    assert [fault.path for fault in verify(path).faults] == [lost]
    assert load_weights(path, "p0")


@pytest.mark.parametrize(
    ("optimizers", "lost"),
    [
        ({"p1_default_optimizer": {"state": {}}}, ["rl_module/p1"]),  # before Ray 2.41
        ({"p1_critic": {"module_id": "p1"}}, ["rl_module/p1"]),
        ({"p1_critic": {"state": {}}}, []),  # of a module of that name, or of p1?
        ({"default_policy_default_optimizer": {"state": {}}}, []),
        ({"__all_modules___default_optimizer": {"module_id": "__all_modules__"}}, []),
        ("strange", []),
    ],
)
def test_optimizers_tell_of_modules_where_that_is_certain(optimizers, lost):
    learner = open_folder(open_store(one(RLLIBS_OWN).path / "learner_group" / "learner"))
    if not lost:
        check_members(learner, {"optimizer": optimizers})
        return
    with pytest.raises(CorruptDataError, match=lost[0]):
        check_members(learner, {"optimizer": optimizers})
