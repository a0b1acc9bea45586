"""The mean of several checkpoints' weights."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

import tune_ckpt as tc
from tests.sweep.folders import A, edit
from tune_ckpt.errors import CheckpointMismatchError, InvalidArgumentError


def _saved(tmp_path, states):
    return [tc.save_state(state, tmp_path / str(n)).path for n, state in enumerate(states)]


def test_floating_arrays_are_averaged_and_the_rest_is_the_firsts(tmp_path):
    states = [
        {
            "layers": [{"w": np.float32([n, 2 * n])}, (np.float16(n) * np.ones(2, "f2"),)],
            "count": np.array([n]),
            "step": n,
            "lr": n / 10,
            "ordered": OrderedDict(b=np.array([float(n)])),
        }
        for n in (1, 2, 6)
    ]
    mean = tc.average_checkpoints(_saved(tmp_path, states))
    (layer, (half,)) = mean["layers"]
    np.testing.assert_array_equal(layer["w"], np.float32([3, 6]))
    assert (layer["w"].dtype, half.dtype, half[0]) == (np.float32, np.float16, 3)
    assert (mean["count"].tolist(), mean["step"], mean["lr"]) == ([1], 1, 0.1)
    assert (type(mean["ordered"]), mean["ordered"]["b"].tolist()) == (OrderedDict, [3])


def test_small_differences_survive_half_precision(tmp_path):
    states = [{"w": np.full(1, 2048 + 2 * n, "f2")} for n in range(4)]
    assert tc.average_checkpoints(_saved(tmp_path, states))["w"][0] == np.float16(2051)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_tensors(tmp_path, dtype):
    torch = pytest.importorskip("torch")
    kind = getattr(torch, dtype)
    states = [{"w": torch.full((2,), float(n), dtype=kind), "n": torch.tensor(n)} for n in (1, 3)]
    mean = tc.average_checkpoints(_saved(tmp_path, states))
    assert mean["w"].dtype == kind
    assert mean["w"].tolist() == [2, 2]
    assert mean["n"].item() == 1


def test_parameters_stay_parameters_and_masks_stay(tmp_path):
    torch = pytest.importorskip("torch")
    states = [
        {
            "frozen": torch.nn.Parameter(torch.tensor([n]), requires_grad=False),
            "w": torch.tensor([n], requires_grad=True),
            "masked": np.ma.MaskedArray([n, n], [True, False]),
        }
        for n in (1.0, 3.0)
    ]
    mean = tc.average_checkpoints(_saved(tmp_path, states))
    assert type(mean["frozen"]) is torch.nn.Parameter
    assert [mean[name].requires_grad for name in ("frozen", "w")] == [False, True]
    assert [mean["frozen"].item(), mean["w"].item()] == [2, 2]
    assert mean["masked"].tolist() == [None, 2]


def test_bfloat16_arrays(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    states = [{"w": np.full(2, n, ml_dtypes.bfloat16)} for n in (1, 3)]
    mean = tc.average_checkpoints(_saved(tmp_path, states))["w"]
    assert (mean.dtype, float(mean[0])) == (ml_dtypes.bfloat16, 2.0)


def test_a_component_alone(tmp_path):
    class Model(tc.Checkpointable):
        def __init__(self, value=0.0):
            self.value = value

        def get_state(self, components=None, *, not_components=None, **kwargs):
            return {"w": np.array([self.value])}

        def set_state(self, state):
            self.value = state["w"][0]

    paths = [tc.save({"model": Model(v), "step": 3}, tmp_path / str(v)).path for v in (1.0, 2.0)]
    assert tc.average_checkpoints(paths, component="model")["w"].tolist() == [1.5]


def test_a_state_without_floating_arrays_has_no_mean(tmp_path):
    with pytest.raises(InvalidArgumentError, match="arrays of floating point numbers"):
        tc.average_checkpoints(_saved(tmp_path, [{"w": [1.5]}, {"w": [2.5]}]))


def test_all_mismatches_are_listed_at_once(tmp_path):
    first = {"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)}
    other = {"a": np.ones(3), "b": np.ones(2, "f4"), "d": np.ones(2)}
    with pytest.raises(CheckpointMismatchError) as caught:
        tc.average_checkpoints(_saved(tmp_path, [first, first, other]))
    told = [str(fault) for fault in caught.value.faults]
    assert [line.partition(": ")[2] for line in told] == [
        "a: float64(3,), but float64(2,) in the first",
        "b: float32(2,), but float64(2,) in the first",
        "c: missing, but float64(2,) in the first",
        "d: float64(2,), but missing in the first",
    ]
    assert all(line.startswith(str(tmp_path / "2")) for line in told)


def test_arrays_that_are_not_averaged_must_agree_too(tmp_path):
    states = [
        {"ids": np.arange(2), "mask": np.array([True]), "kind": np.ones(1)},
        {"ids": np.arange(3), "mask": np.array([1]), "kind": np.ones(1, "i8")},
    ]
    with pytest.raises(CheckpointMismatchError) as caught:
        tc.average_checkpoints(_saved(tmp_path, states))
    assert [str(fault).partition(": ")[2] for fault in caught.value.faults] == [
        "ids: int64(3,), but int64(2,) in the first",
        "kind: int64(1,), but float64(1,) in the first",
        "mask: int64(1,), but bool(1,) in the first",
    ]


def test_a_tensor_and_an_array_are_not_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    states = [{"w": torch.ones(2)}, {"w": np.ones(2, "f4")}]
    with pytest.raises(CheckpointMismatchError, match=r"float32\(2,\), but tensor of float32"):
        tc.average_checkpoints(_saved(tmp_path, states))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16", "i8", "u1", "bool"])
def test_one_alone_is_its_own_mean(tmp_path, dtype):
    array = np.array([0.1, 1, 3]).astype(dtype)
    mean = tc.average_checkpoints(_saved(tmp_path, [{"w": (array, [array])}]))
    (first, (second,)) = mean["w"]
    assert first.dtype == second.dtype == array.dtype
    np.testing.assert_array_equal([first, second], [array, array])


def test_records_on_s3(s3, bucket, tmp_path):
    for number in range(3):
        metrics, folder = {"acc": number}, tmp_path / "T" / f"checkpoint_{number:06}"
        tc.save_state({"model": {"w": np.full(2, 2.0**number)}}, folder)
        edit(folder, metrics=metrics, trial={"id": A, "iteration": number + 1})
    there = {"destination_filesystem": s3.filesystem()}
    fs.copy_files(str(tmp_path), bucket, source_filesystem=fs.LocalFileSystem(), **there)
    best = tc.rank_checkpoints(s3.uri(bucket), "acc", k=2)
    assert tc.average_checkpoints(best)["model"]["w"].tolist() == [3, 3]


@pytest.mark.parametrize("records", [[], "path", Path("path"), None])
def test_nothing_has_no_mean(records):
    with pytest.raises(InvalidArgumentError, match="at least one"):
        tc.average_checkpoints(records)
