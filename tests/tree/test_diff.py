"""Comparing two checkpoints: what was added, removed, changed; and what is not read for it."""

import json
import math
import os
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Weights, trained
from tests.formats.strategies import states
from tests.portable_values import values
from tests.tree.rllib_trees import write_tree
from tests.tree.stores import CountingStore
from tune_ckpt.errors import NotACheckpointError, UnsupportedStateError
from tune_ckpt.tree.inspection import diff as module

FORMATS = ["pickle", "msgpack"]
PAIRS = [(a, b) for a in FORMATS for b in FORMATS]


@pytest.fixture(params=PAIRS, ids="-".join)
def differ(request, tmp_path):
    """Save two states, in each pair of formats, and compare them."""

    def run(first, second, **options):
        for name, state, format in zip("ab", (first, second), request.param, strict=True):
            tc.save_state(state, tmp_path / name, format=format)
        return tc.diff(tmp_path / "a", tmp_path / "b", **options)

    return run


def _changes(found):
    items = [*found.arrays, *found.values]
    return [(item.change, item.path) for item in items]


def test_equal_states_of_many_types_are_equal(differ):
    found = differ(values(), values())
    assert str(found).endswith("equal")
    assert found.equal
    assert found.to_dict()["equal"] is True


def test_what_was_added_removed_and_changed_is_listed(differ):
    before = {"w": np.zeros(500), "gone": np.zeros(3), "step": 1, "old": "x", "same": [1, 2]}
    after = {"w": np.ones(500), "new": np.zeros((2, 2)), "step": 2, "extra": None, "same": [1, 2]}
    found = differ(before, after)
    assert sorted(_changes(found)) == [
        ("added", "extra"),
        ("added", "new"),
        ("changed", "step"),
        ("changed", "w"),
        ("removed", "gone"),
        ("removed", "old"),
    ]
    step = next(item for item in found.values if item.path == "step")
    assert (step.before, step.after) == (1, 2)
    new = next(item for item in found.arrays if item.path == "new")
    assert new.before is None
    assert (new.after.dtype, new.after.shape) == ("float64", (2, 2))
    assert not found.equal


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.zeros(500), np.zeros(500, "f4")),
        (np.zeros(500), np.zeros(500, ">f8")),
        (np.zeros(500), np.zeros((5, 100))),
        (np.zeros(3), np.zeros(4)),
        (np.zeros(500, "i8"), np.zeros(500, "M8[s]")),
    ],
)
def test_another_dtype_or_shape_is_a_change(differ, before, after):
    (found,) = differ({"w": before}, {"w": after}).arrays
    assert (found.before.dtype, found.before.shape) == (str(before.dtype), before.shape)
    assert (found.after.dtype, found.after.shape) == (str(after.dtype), after.shape)
    assert (found.max_abs, found.max_rel) == (None, None)


@pytest.mark.parametrize("size", [(2, 3), (20, 100)], ids=["in the tree", "in a blob"])
def test_memory_order_is_no_difference_but_the_elements_are(differ, size):
    array = np.arange(math.prod(size), dtype="f8").reshape(size)
    assert differ({"w": array}, {"w": np.asfortranarray(array)}).equal
    # The same bytes in memory, the same shape, and yet another array.
    other = np.arange(math.prod(size), dtype="f8").reshape(size[::-1]).T
    (found,) = differ({"w": array}, {"w": other}, values=True).arrays
    assert found.max_abs == np.abs(array - other).max()


def test_how_much_arrays_differ_is_told_when_asked(differ):
    before, after = np.full(100_000, 2.0), np.full(100_000, 2.0)
    after[70_000] = 2.5
    (found,) = differ({"w": before}, {"w": after}, values=True).arrays
    assert (found.max_abs, found.max_rel) == (0.5, 0.2)
    (found,) = differ({"w": before}, {"w": after}).arrays
    assert (found.max_abs, found.max_rel) == (None, None)


@pytest.mark.parametrize(
    ("before", "after", "max_abs", "max_rel"),
    [
        ([np.nan, 1], [np.nan, 1.5], 0.5, 1 / 3),
        ([np.nan, 1], [0, 1], np.inf, np.inf),
        ([np.inf, 1], [np.inf, 2], 1, 0.5),
        ([np.inf], [-np.inf], np.inf, np.inf),
        ([0.0], [-0.0], 0, 0),
        ([0.0], [1.0], 1, 1),
        (np.array([2**63 - 1]), np.array([2**63 - 2]), 1, 2**-63),
        (np.array([3], "u1"), np.array([5], "u1"), 2, 0.4),
        (np.array([True]), np.array([False]), 1, 1),
        ([1 + 1j], [1 - 1j], 2, 2**0.5),
        (np.array([1.0], "f4"), np.array([3.0], "f8"), 2, 2 / 3),
        (np.array(["a"]), np.array(["b"]), None, None),
    ],
)
def test_distances(tmp_path, before, after, max_abs, max_rel):
    tc.save_state({"w": np.asarray(before)}, tmp_path / "a")
    tc.save_state({"w": np.asarray(after)}, tmp_path / "b")
    difference = tc.diff(tmp_path / "a", tmp_path / "b", values=True)
    json.dumps(difference.to_dict(), allow_nan=False)
    (found,) = difference.arrays
    assert found.max_abs == max_abs
    assert found.max_rel == (
        max_rel if max_rel is None else pytest.approx(max_rel, rel=1e-12, abs=0)
    )


def test_distance_of_bfloat16(tmp_path):
    torch = pytest.importorskip("torch")
    for name, value in (("a", 1), ("b", 1.5)):
        state = {"w": torch.full((1000,), value, dtype=torch.bfloat16)}
        tc.save_state(state, tmp_path / name)
    (found,) = tc.diff(tmp_path / "a", tmp_path / "b", values=True).arrays
    assert (found.max_abs, found.before.kind) == (0.5, "torch tensor")


def test_tensors_of_a_model_and_its_optimizer_survive_conversion(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 30), torch.nn.Linear(30, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3, 8)).sum().backward()
    optimizer.step()
    tc.save({"model": model, "optimizer": optimizer, "step": 3}, tmp_path / "a", format="pickle")
    tc.convert_to_msgpack_checkpoint(tmp_path / "a", tmp_path / "b")
    assert tc.diff(tmp_path / "a", tmp_path / "b").equal
    optimizer.step()
    tc.save({"model": model, "optimizer": optimizer, "step": 3}, tmp_path / "c")
    changed = tc.diff(tmp_path / "a", tmp_path / "c").arrays
    assert {item.path for item in changed} > {"model/0.weight", "optimizer/state/0/exp_avg"}


def test_a_tensor_that_became_an_array_is_a_change(tmp_path):
    torch = pytest.importorskip("torch")
    tc.save_state({"w": torch.ones(3)}, tmp_path / "a")
    tc.save_state({"w": np.ones(3, "f4")}, tmp_path / "b")
    (found,) = tc.diff(tmp_path / "a", tmp_path / "b").arrays
    assert (found.before.kind, found.after.kind) == ("torch tensor", "ndarray")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ((1, 2), [1, 2]),
        ([], {}),
        (b"a", bytearray(b"a")),
        (np.float32(1), np.float64(1)),
        (2**70, 2**70 + 1),
        (range(3), range(4)),
        (None, 0),
        ("x", ["x"]),
        (np.ones(3), [1.0, 1.0, 1.0]),
    ],
    ids=repr,
)
def test_values_of_other_types_or_bits_are_changes(differ, before, after):
    assert ("changed", "x") in _changes(differ({"x": before}, {"x": after}))


@pytest.mark.parametrize("value", [float("nan"), {"a", "b", "c"}, frozenset({(1, 2)}), {1: {}}])
def test_values_that_compare_oddly_are_equal_to_themselves(differ, value):
    assert differ({"x": value}, {"x": value}).equal


def test_members_of_sets_are_told_one_by_one(differ):
    found = differ({"tags": {"a", "b", 1}}, {"tags": {"a", "c", 1}})
    assert _changes(found) == [("removed", "tags/b"), ("added", "tags/c")]


def test_keys_are_told_apart_by_type(differ):
    found = differ({"x": {1: "a", "1": "b"}}, {"x": {1: "a", "1": "c"}})
    (change,) = found.values
    assert (change.before, change.after) == ("b", "c")


def test_the_order_of_keys_is_no_difference(differ):
    assert differ({"a": 1, "b": 2}, {"b": 2, "a": 1}).equal


def test_shared_arrays_are_compared_under_each_path(differ):
    w, v = np.ones(1000), np.zeros(1000)
    found = differ({"a": w, "b": w}, {"a": w, "b": v})
    assert _changes(found) == [("changed", "b")]


def test_masked_arrays_are_compared_by_data_and_mask(differ):
    data = np.arange(2000.0)
    before = np.ma.MaskedArray(data, data > 5)
    after = np.ma.MaskedArray(data, data > 6)
    assert _changes(differ({"m": before}, {"m": after})) == [("changed", "m/mask")]


def test_a_pickle_that_contains_itself_comes_to_an_end(tmp_path):
    cycle = [1]
    cycle.append({"again": cycle})
    tc.save_state({"x": cycle}, tmp_path / "a", format="pickle")
    tc.save_state({"x": [1, {"again": 2}]}, tmp_path / "b", format="pickle")
    assert tc.diff(tmp_path / "a", tmp_path / "a").equal
    found = tc.diff(tmp_path / "a", tmp_path / "b")
    assert _changes(found) == [("changed", "x/1/again")]


def test_objects_in_pickles_are_compared_and_not_made(tmp_path):
    class Evil:
        def __init__(self, number):
            self.number = number

        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "called"), self.number)

    for name, number in (("a", 1), ("b", 2)):
        tc.save_state({"x": Evil(number)}, tmp_path / name, format="pickle")
    (change,) = tc.diff(tmp_path / "a", tmp_path / "b").values
    assert (change.path, change.before, change.after) == ("x/1", 1, 2)
    assert not (tmp_path / "called").exists()


# ------------------------------------------------------------------------------------- trees


def test_components_added_and_removed_are_named(tmp_path):
    tc.save({"a": Weights(), "b": Weights(), "n": 1}, tmp_path / "a")
    tc.save({"b": Weights(), "c": Weights(), "n": 1}, tmp_path / "b")
    found = tc.diff(tmp_path / "a", tmp_path / "b")
    assert (found.components_removed, found.components_added) == (["a"], ["c"])
    assert _changes(found) == []
    assert not found.equal
    assert "removed component a" in str(found)


def test_paths_name_the_component(tmp_path):
    trained().save_to_path(tmp_path / "a", use_msgpack=True)
    trained(step=8).save_to_path(tmp_path / "b", use_msgpack=True)
    found = tc.diff(tmp_path / "a", tmp_path / "b", values=True)
    assert sorted(_changes(found)) == [
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


def test_generators_are_compared_by_their_states(differ):
    def drawn(count):
        generators = [np.random.default_rng(1), np.random.RandomState(1), random.Random(1)]
        for generator in generators:
            for _ in range(count):
                generator.random()
        return {"g": generators}

    assert differ(drawn(5), drawn(5)).equal
    assert {path.split("/")[1] for _, path in _changes(differ(drawn(5), drawn(6)))} == {*"012"}


def test_nothing_there_is_an_error(tmp_path):
    tc.save_state({}, tmp_path / "a")
    with pytest.raises(NotACheckpointError, match="nothing is there"):
        tc.diff(tmp_path / "a", tmp_path / "b")


# --------------------------------------------------------------------------- what it costs


@pytest.fixture
def counting(monkeypatch):
    """Let `diff` open stores that count; the list of them."""
    stores = []

    def open_store(path, filesystem=None):
        stores.append(CountingStore(Path(path)))
        return stores[-1]

    monkeypatch.setattr(module, "open_store", open_store)
    return stores


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
    assert _changes(tc.diff(tmp_path / "a", tmp_path / "b")) == [("changed", "model/head/w")]
    states = [name for name in counting[0].opened if "state" in name]
    assert states == ["state.msgpack"]  # the head's


def test_without_values_no_array_is_read(tmp_path, counting):
    arrays = {str(i): np.full(2**18, i % 3.0) for i in range(8)}  # 16 MiB
    tc.save_state(arrays, tmp_path / "a")
    tc.save_state({**arrays, "3": np.ones(2**18), "x": 1}, tmp_path / "b")
    found = tc.diff(tmp_path / "a", tmp_path / "b")
    assert _changes(found) == [("changed", "3"), ("added", "x")]
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
    assert len(lines) == 103
    assert lines[-1].strip() == "... and 900 more values"


def _shown(value):
    try:
        return repr(value)
    except ValueError:  # NumPy cannot show some of its own
        return "Reference"


# Our own stand-ins for unknown classes, and time zones by name, which pickles hold as objects that
# are read inertly; big-endian masked arrays, which NumPy fills with another dtype.
_LEFT_OUT = re.compile("Reference|ZoneInfo|masked")


@pytest.mark.slow
@settings(suppress_health_check=list(HealthCheck))
@given(states.filter(lambda state: not _LEFT_OUT.search(_shown(state))))
def test_any_state_is_equal_in_both_formats(tmp_path_factory, state):
    folder = tmp_path_factory.mktemp("diff")
    try:
        tc.save_state({"x": state}, folder / "a")
        tc.save_state({"x": state}, folder / "b", format="pickle")
    except UnsupportedStateError:
        return
    assert str(tc.diff(folder / "a", folder / "b")).endswith("equal")
    shutil.rmtree(folder)
