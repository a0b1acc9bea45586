"""Pickles in parts: the bytes of an ordinary one, without copies of large arrays on either way."""

from __future__ import annotations

import gc
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tune_ckpt.errors import CorruptDataError, StorageError
from tune_ckpt.formats import pickle
from tune_ckpt.formats.io import BytesSource

GRID = np.arange(60_000, dtype=np.float64).reshape(300, 200)


def _read_only() -> np.ndarray:
    array = GRID.copy()
    array.flags.writeable = False
    return array


# Each larger than a frame of pickle's, 64 KiB, from which on it is written apart.
LARGE: dict[str, Any] = {
    "C order": GRID,
    "Fortran order": np.asfortranarray(GRID),
    "strided": GRID[::2, ::3],
    "read-only": _read_only(),
    "dates": np.arange(20_000).astype("M8[s]"),
    "records": np.zeros(9_000, [("a", "i4"), ("b", "f8")]),
    "bytes": b"b" * 300_000,
    "bytearray": bytearray(b"a" * 300_000),
    "ASCII": "a" * 300_000,
    "text": "ä€" * 100_000,
    "tensor": torch.arange(50_000),
    "several": [GRID, {"again": GRID}, "a" * 100_000, np.ones(20_000, np.float32)],
}


@pytest.mark.parametrize("name", LARGE)
def test_the_parts_are_an_ordinary_pickle(name: str) -> None:
    parts = pickle.dump_parts(LARGE[name])
    gc.collect()
    np.empty(10**6)  # over whatever was freed
    assert b"".join(parts) == cloudpickle.dumps(LARGE[name], protocol=5)


@pytest.mark.parametrize("name", ["C order", "Fortran order", "read-only"])
def test_large_arrays_are_not_copied(name: str) -> None:
    parts = pickle.dump_parts({"x": LARGE[name]})
    views = [np.frombuffer(part, np.uint8) for part in parts]
    assert sum(np.shares_memory(view, LARGE[name]) for view in views) == 1


# A tensor's pickle names its place in memory.
@given(chunk_nbytes=st.integers(1, 2**20), name=st.sampled_from(sorted(LARGE.keys() - {"tensor"})))
def test_a_source_is_read_like_its_bytes(chunk_nbytes: int, name: str) -> None:
    data = pickle.dumps(LARGE[name])
    source = BytesSource(data)
    source.chunk_nbytes = chunk_nbytes
    back = pickle.load(source)
    assert pickle.dumps(back) == pickle.dumps(pickle.loads(data, file="x"))


def test_arrays_of_a_source_are_writable() -> None:
    back: Any = pickle.load(BytesSource(pickle.dumps({"x": GRID})))
    back["x"][0, 0] = 7.0
    assert back["x"][0, 0] == 7.0


@pytest.mark.parametrize("kept", [0, 1, 100, 400_000])
def test_a_source_that_ends_early_is_damaged(kept: int) -> None:
    data = pickle.dumps({"x": GRID})
    with pytest.raises(CorruptDataError, match=r"cut\.pkl"):
        pickle.load(BytesSource(data[:kept], "cut.pkl"))


class Unreadable(BytesSource):
    def read_into(self, offset: int, *buffers: memoryview) -> None:
        raise StorageError(self.name, "read", "the network is gone")


def test_storage_that_fails_is_not_taken_for_a_bad_pickle() -> None:
    with pytest.raises(StorageError, match="network is gone"):
        pickle.load(Unreadable(pickle.dumps({"x": GRID})))
