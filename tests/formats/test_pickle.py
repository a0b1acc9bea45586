"""Pickle: values, arrays and tensors come back, from every reader."""

from __future__ import annotations

import datetime
import io
import pickle as std_pickle
import random
import sys
import zoneinfo
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from tests.formats.pickled import ARRAYS, PLAIN, TENSORS, ordered_with_attribute
from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.formats import pickle
from tune_ckpt.formats.pickle import Opaque

PROTOCOLS = (2, 3, 4, 5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", PLAIN)
def test_plain_values_come_back_equal_from_every_reader(name: str, protocol: int) -> None:
    value = PLAIN[name]
    data = std_pickle.dumps(value, protocol)
    for read in (pickle.loads, pickle.loads_restricted, pickle.loads_inert):
        back = read(data, file="x")
        assert back == value
        assert repr(back) == repr(value)


def test_what_is_made_of_an_unknown_object_is_unknown_too() -> None:
    value = [datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), 1]
    moment, one = pickle.loads_inert(pickle.dumps(value), file="x")
    assert (moment.name, moment.args[1].name, one) == ("datetime", "getattr()", 1)


def test_dumps_and_loads() -> None:
    data = pickle.dumps({"f": lambda x: x + 1})
    assert data[:2] == b"\x80\x05"
    assert pickle.loads(memoryview(data), file="x")["f"](1) == 2


def test_attributes_of_an_ordered_dict_come_back() -> None:
    data = std_pickle.dumps(ordered_with_attribute())
    back: Any = pickle.loads_restricted(data, file="x")
    assert back == {"b": 1, "a": 2}
    assert back._metadata == {"version": 1}


def test_shared_and_cyclic_containers_keep_their_identity() -> None:
    shared: list[Any] = [np.float32(1)]
    cycle: list[Any] = [shared, shared]
    cycle += [cycle, (cycle, {"again": cycle})]
    back: Any = pickle.loads_restricted(std_pickle.dumps(cycle), file="x")
    assert back[0] is back[1]
    assert back[2] is back
    assert back[3][0] is back
    assert back[3][1]["again"] is back


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_equal_and_writable(name: str, protocol: int) -> None:
    array = ARRAYS[name]
    data = std_pickle.dumps({"a": array}, protocol)
    for read in (pickle.loads_restricted, pickle.loads_inert):
        back: Any = read(data, file="x")["a"]
        assert type(back) is type(array)
        assert back.dtype == array.dtype
        assert back.dtype.metadata == array.dtype.metadata
        assert back.dtype.isalignedstruct == array.dtype.isalignedstruct
        assert back.flags.writeable
        assert back.flags.f_contiguous == std_pickle.loads(data)["a"].flags.f_contiguous
        np.testing.assert_array_equal(back, array)
        assert repr(back) == repr(array)


@pytest.mark.parametrize(
    "scalar",
    [
        *(np.float32(1.5), np.int64(-1), np.bool_(True), np.str_("ab"), np.bytes_(b"ab")),
        *(np.str_(""), np.datetime64("2024-01-01", "ns"), np.timedelta64(3, "h")),
        *(np.longdouble(1) / 3, np.array([(1, 2.0)], "i4,f8")[0], ml_dtypes.bfloat16(2)),
        np.array([(1, "x")], [("a", "i4"), ("b", "O")])[0],
    ],
    ids=repr,
)
def test_scalars_come_back_with_their_type(scalar: Any) -> None:
    for read in (pickle.loads_restricted, pickle.loads_inert):
        back: Any = read(std_pickle.dumps(scalar), file="x")
        assert type(back) is type(scalar)
        assert back.dtype == scalar.dtype
        assert back == scalar


def test_every_dtype_of_ml_dtypes_comes_back() -> None:
    kinds = [
        k for k in vars(ml_dtypes).values() if isinstance(k, type) and issubclass(k, np.generic)
    ]
    arrays = [np.zeros(2, kind) for kind in kinds]
    back: Any = pickle.loads_restricted(std_pickle.dumps(arrays), file="x")
    assert [array.dtype.type for array in back] == kinds


@pytest.mark.parametrize(
    "dtype", ["f8", ">f8", "U5", "M8[ns]", "V7", "i4,f8", "O"], ids=lambda d: f"dtype {d}"
)
def test_dtypes_come_back(dtype: str) -> None:
    assert pickle.loads_restricted(std_pickle.dumps(np.dtype(dtype)), file="x") == np.dtype(dtype)


def test_dtypes_keep_their_metadata() -> None:
    dtype = np.dtype("f8", metadata={"unit": "m"})
    back: Any = pickle.loads_restricted(std_pickle.dumps(dtype), file="x")
    assert dict(back.metadata) == {"unit": "m"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_generators_continue_to_the_bit(protocol: int) -> None:
    python, modern, legacy = random.Random(1), np.random.default_rng(2), np.random.RandomState(3)
    others = [np.random.Generator(kind(4)) for kind in (np.random.Philox, np.random.SFC64)]
    python.random(), modern.random(3, np.float32), legacy.normal()
    data = std_pickle.dumps([python, modern, legacy, *others], protocol)
    for read in (pickle.loads_restricted, pickle.loads_inert):
        back: Any = read(data, file="x")
        expected = std_pickle.loads(data)
        assert back[0].random() == expected[0].random()
        assert back[2].normal() == expected[2].normal()
        for mine, theirs in zip(back[1:2] + back[3:], expected[1:2] + expected[3:], strict=True):
            assert mine.random() == theirs.random()
            assert mine.spawn(1)[0].random() == theirs.spawn(1)[0].random()


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_are_tensors_restricted_and_arrays_inertly(name: str) -> None:
    tensor = TENSORS[name]
    data = std_pickle.dumps({"t": tensor, "size": tensor.shape}, 5)
    restricted: Any = pickle.loads_restricted(data, file="x")
    assert type(restricted["t"]) is type(tensor)
    assert restricted["t"].requires_grad == tensor.requires_grad
    assert restricted["t"].dtype == tensor.dtype
    assert restricted["t"].tolist() == tensor.tolist()
    assert restricted["size"] == tensor.shape
    inert: Any = pickle.loads_inert(data, file="x")
    assert isinstance(inert["t"], np.ndarray)
    assert inert["t"].dtype.name == str(tensor.dtype).removeprefix("torch.")
    assert inert["t"].astype(object).tolist() == tensor.tolist()
    assert inert["t"].flags.writeable
    assert inert["size"] == tuple(tensor.shape)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "sequence"])
def test_files_of_torch_are_read_inertly(archive: bool) -> None:
    stream = io.BytesIO()
    state = {"w": TENSORS["transposed"], "v": TENSORS["transposed"], "step": 3, "n": np.float32(1)}
    torch.save(state, stream, _use_new_zipfile_serialization=archive)
    back: Any = pickle.loads_inert(stream.getvalue(), file="x")
    assert back["w"].tolist() == state["w"].tolist()
    assert back["step"] == 3
    assert "torch._utils:_rebuild_tensor_v2" in pickle.list_globals(stream.getvalue(), file="x")


def test_bfloat16_is_widened_where_ml_dtypes_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = std_pickle.dumps([TENSORS["bfloat16"], TENSORS["float8"], ARRAYS["bfloat16"]])
    alone = std_pickle.dumps(ARRAYS["bfloat16"])
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    tensor, float8, array = pickle.loads_inert(data, file="x")
    assert tensor.dtype == np.float32
    assert tensor.tolist() == [1.5, -3.0]
    assert isinstance(float8, Opaque)
    assert isinstance(array, Opaque)
    with pytest.raises(MissingDependencyError, match="ml_dtypes"):
        pickle.loads_restricted(alone, file="x")


def test_a_dtype_that_this_ml_dtypes_lacks_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = std_pickle.dumps(np.zeros(2, ml_dtypes.int4))
    monkeypatch.delattr(ml_dtypes, "int4")
    assert isinstance(pickle.loads_inert(data, file="x"), Opaque)
    with pytest.raises(MissingDependencyError, match=r"needs ml_dtypes>\d"):
        pickle.loads_restricted(data, file="x")


def test_without_torch_tensors_are_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"w": TENSORS["float"], "dtype": torch.float32, "device": torch.device("cuda", 1)}
    data = std_pickle.dumps([held, torch.nn.Parameter(TENSORS["bfloat16"]), torch.Size([2])])
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert pickle.loads_inert(data, file="x")[0]["w"].shape == (2, 3)
    back, bfloat16, size = pickle.loads_restricted(data, file="x")
    assert back["w"].shape == (2, 3)
    assert (back["dtype"], back["device"], size) == (np.float32, "cuda:1", (2,))
    assert bfloat16.dtype == ml_dtypes.bfloat16
    with pytest.raises(MissingDependencyError, match="torch"):
        pickle.loads_restricted(data, file="x", tensors="torch")


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_are_arrays_where_that_is_asked_for(name: str) -> None:
    array = pickle.loads_restricted(std_pickle.dumps(TENSORS[name]), file="x", tensors="numpy")
    assert isinstance(array, np.ndarray)
    assert array.dtype.name == str(TENSORS[name].dtype).removeprefix("torch.")
    assert array.tolist() == TENSORS[name].detach().tolist()


def test_a_float8_tensor_as_an_array_needs_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = std_pickle.dumps(TENSORS["float8"])
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(MissingDependencyError, match="needs ml_dtypes"):
        pickle.loads_restricted(data, file="x", tensors="numpy")
