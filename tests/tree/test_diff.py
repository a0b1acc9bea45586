"""Comparing two checkpoints: which components differ, what is read for it, and the report."""

import json
import pickle
import shutil

import msgpack
import numpy as np
import pytest
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Weights, trained
from tests.conftest import REPO
from tests.tree.changes import changes
from tests.tree.rllib_trees import write_tree
from tune_ckpt import rllib
from tune_ckpt.errors import NotACheckpointError
from tune_ckpt.tree.inspection import diff as module

# ------------------------------------------------------------------------------------- trees


def test_components_added_and_removed_are_named(tmp_path):
    tc.save({"a": Weights(), "b": Weights(), "n": 1}, tmp_path / "a")
    tc.save({"b": Weights(), "c": Weights(), "n": 1}, tmp_path / "b")
    found = tc.diff(tmp_path / "a", tmp_path / "b")
    assert (found.components_removed, found.components_added) == (["a"], ["c"])
    assert changes(found) == []
    assert not found.equal
    assert "removed component a" in str(found)


def test_paths_name_the_component(tmp_path):
    trained().save_to_path(tmp_path / "a", use_msgpack=True)
    trained(step=8).save_to_path(tmp_path / "b", use_msgpack=True)
    found = tc.diff(tmp_path / "a", tmp_path / "b", values=True)
    assert sorted(changes(found)) == [
        *(("changed", "model/head/w"), ("changed", "model/w"), ("changed", "step"))
    ]
    assert "model/w: ndarray float64 (500,), by at most 1 (0.125 relative)" in str(found)


def test_constructor_arguments_are_compared(tmp_path):
    for name in ("a", "b"):
        trained(name=name).save_to_path(tmp_path / name, use_msgpack=name == "a")
    (change,) = tc.diff(tmp_path / "a", tmp_path / "b").values
    assert (change.path, change.before, change.after) == ("ctor_args_and_kwargs/1/name", "a", "b")


def test_another_class_is_a_difference(tmp_path):
    class Other(Weights):
        pass

    Weights().save_to_path(tmp_path / "a")
    Other().save_to_path(tmp_path / "b")
    (change,) = tc.diff(tmp_path / "a", tmp_path / "b").values
    assert change.path == "(class)"
    assert "Other" in change.after


def test_a_checkpoint_is_equal_to_its_conversion_and_to_its_copy_elsewhere(tmp_path):
    trained().save_to_path(tmp_path / "a")
    tc.convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / "b")
    assert tc.diff(tmp_path / "a", tmp_path / "b").equal
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    assert tc.diff("b", "a", filesystem=remote).equal


@pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])
def test_trees_of_rllibs_are_compared(tmp_path, use_msgpack):
    write_tree(tmp_path / "a")
    write_tree(tmp_path / "b", use_msgpack=use_msgpack)
    assert tc.diff(tmp_path / "a", tmp_path / "b").equal
    shutil.rmtree(tmp_path / "b" / "learner" / "module")
    found = tc.diff(tmp_path / "a", tmp_path / "b")
    assert found.components_removed == ["learner/module"]


def test_real_checkpoints_of_rllibs_in_both_formats_are_compared(corpus):
    case = "ray2.60.0-py3.11-new-ppo-single"
    first, second = (corpus / name / "checkpoint" for name in (case, f"{case}-msgpack"))
    assert tc.diff(first, first).equal
    found = tc.diff(first, second)
    # Trained alike, as far as the same weights go; RLlib's msgpack loses the tuple.
    assert (found.components_added, found.components_removed, found.arrays) == ([], [], [])
    (betas,) = [value for value in found.values if value.path.endswith("param_groups/0/betas")]
    assert str(betas).endswith("betas: <tuple> -> <list>")


def test_what_rllibs_msgpack_has_as_text_is_no_difference(tmp_path):
    old = REPO / "tests/data/rllib/ray2.10.0-py3.10-old-ppo-multi/checkpoint/policies/pol1"
    rllib.convert_to_msgpack_checkpoint(old, tmp_path / "c")
    for one, other in ((old, tmp_path / "c"), (tmp_path / "c", old)):
        found = tc.diff(one, other)
        optimizer = [value for value in found.values if "_optimizer_variables" in value.path]
        assert not found.arrays
        assert {value.path.rpartition("/")[2] for value in optimizer} == {"betas"}  # a tuple


def _policy(folder, suffix, state):
    folder.mkdir()
    pack = pickle.dumps if suffix == "pkl" else msgpack.dumps
    (folder / f"policy_state.{suffix}").write_bytes(pack(state))
    told = {"type": "Policy", "checkpoint_version": "1.1", "state_file": f"policy_state.{suffix}"}
    (folder / "rllib_checkpoint.json").write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize(
    ("in_pickle", "in_msgpack", "expected"),
    [
        ({1: "a"}, {"1": "a"}, []),
        ({1: "a"}, {"1": "b"}, [("changed", "x/1")]),
        ({1: "a", "1": "b"}, {"1": "b"}, [("removed", "x/1")]),
        ({1: "a", "1": "b"}, {"1": "a"}, [("changed", "x/1"), ("removed", "x/1")]),
        ({1: "a"}, {1: "a", "1": "b"}, [("added", "x/1")]),
        ({1: {2: "a"}}, {"1": {"2": "a"}}, []),
        ({1: "a"}, {"2": "a"}, [("removed", "x/1"), ("added", "x/2")]),
        ({True: "a"}, {"True": "a"}, [("removed", "x/True"), ("added", "x/True")]),
    ],
)
def test_a_number_and_its_text_are_one_key_unless_both_are_there(
    tmp_path, in_pickle, in_msgpack, expected
):
    first = _policy(tmp_path / "a", "pkl", {"x": in_pickle})
    second = _policy(tmp_path / "b", "msgpck", {"x": in_msgpack})
    found = tc.diff(first, second)
    assert sorted((v.change, v.path) for v in found.values) == sorted(expected)


def test_in_the_same_format_a_number_is_not_its_text(tmp_path):
    first = _policy(tmp_path / "a", "pkl", {"x": {1: "a"}})
    second = _policy(tmp_path / "b", "pkl", {"x": {"1": "a"}})
    assert len(tc.diff(first, second).values) == 2


def test_nothing_there_is_an_error(tmp_path):
    tc.save_state({}, tmp_path / "a")
    with pytest.raises(NotACheckpointError, match="nothing is there"):
        tc.diff(tmp_path / "a", tmp_path / "b")


# --------------------------------------------------------------------------- what it costs


@pytest.fixture
def counting(count_opened):
    """The stores that `diff` opens, which count."""
    return count_opened(module)


@pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])
def test_of_equal_trees_no_state_is_opened(tmp_path, counting, use_msgpack):
    for name in ("a", "b"):
        trained().save_to_path(tmp_path / name, use_msgpack=use_msgpack)
    assert tc.diff(tmp_path / "a", tmp_path / "b").equal
    assert {name for store in counting for name in store.opened} == {"metadata.json"}


def test_of_a_tree_only_what_differs_is_opened(tmp_path, counting):
    for name in ("a", "b"):
        agent = trained()
        agent.model.head.w[0] = name == "a"
        agent.save_to_path(tmp_path / name, use_msgpack=True)
    assert changes(tc.diff(tmp_path / "a", tmp_path / "b")) == [("changed", "model/head/w")]
    states = [name for name in counting[0].opened if "state" in name]
    assert states == ["state.msgpack"]  # the head's


def test_without_values_no_array_is_read(tmp_path, counting):
    arrays = {str(i): np.full(2**18, i % 3.0) for i in range(8)}  # 16 MiB
    tc.save_state(arrays, tmp_path / "a")
    tc.save_state({**arrays, "3": np.ones(2**18), "x": 1}, tmp_path / "b")
    found = tc.diff(tmp_path / "a", tmp_path / "b")
    assert changes(found) == [("changed", "3"), ("added", "x")]
    assert all(0 < store.nbytes < 2**13 for store in counting)
    found = tc.diff(tmp_path / "a", tmp_path / "b", values=True)
    assert all(2**21 < store.nbytes < 2**21 + 2**13 for store in counting[2:])


# ------------------------------------------------------------------------------- the report


def test_the_report_is_json_and_text(differ):
    before = {"w": np.zeros(3), "n": 1, "huge": 10**5000, "nested": {"a": []}}
    found = differ(before, {"w": np.ones(3), "n": np.float32(2)})
    document = json.loads(json.dumps(found.to_dict()))
    assert [*document] == [
        *("first", "second", "equal", "components_added", "components_removed"),
        *("arrays", "values"),
    ]
    assert document["arrays"][0]["before"]["dtype"] == "float64"
    text = str(found)
    assert "changed array w: " in text
    assert f"changed value n: 1 -> {np.float32(2)!r}" in text
    assert "removed value huge: int" in text
    assert "removed value nested/a: <list>" in text


def test_a_very_long_report_is_cut(tmp_path):
    tc.save_state({"x": list(range(1000))}, tmp_path / "a")
    tc.save_state({"x": list(range(1, 1001))}, tmp_path / "b")
    lines = str(tc.diff(tmp_path / "a", tmp_path / "b")).splitlines()
    assert len(lines) == 104
    assert lines[-1].strip() == "... and 900 more values"
