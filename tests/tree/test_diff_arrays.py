"""Comparing arrays: another dtype, shape or kind is a change, another order in memory is none."""

import json
import math

import numpy as np
import pytest

import tune_ckpt as tc
from tests.tree.changes import changes


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


def test_shared_arrays_are_compared_under_each_path(differ):
    w, v = np.ones(1000), np.zeros(1000)
    found = differ({"a": w, "b": w}, {"a": w, "b": v})
    assert changes(found) == [("changed", "b")]


def test_masked_arrays_are_compared_by_data_and_mask(differ):
    data = np.arange(2000.0)
    before = np.ma.MaskedArray(data, data > 5)
    after = np.ma.MaskedArray(data, data > 6)
    assert changes(differ({"m": before}, {"m": after})) == [("changed", "m/mask")]
