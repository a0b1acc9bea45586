"""What the tests of pickle have pickled: values, arrays, tensors and classes of their own."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import pickle as std_pickle
import types
import uuid
from typing import Any

import ml_dtypes
import numpy as np
import torch


class Point:
    """An ordinary class, with state."""

    def __init__(self, x: int) -> None:
        self.x = x
        self.me = self


class Slotted:
    __slots__ = ("a", "b")


class Grown(list):
    """A container with an attribute."""


class Colour(enum.Enum):
    RED = 1


Pair = collections.namedtuple("Pair", "a b")


class Stubborn:
    def __setstate__(self, state: object) -> None:
        raise KeyError("no")

    def __getstate__(self) -> object:
        return {"a": 1}


def ordered_with_attribute() -> collections.OrderedDict[str, int]:
    value = collections.OrderedDict(b=1, a=2)
    value._metadata = {"version": 1}
    return value


PLAIN: dict[str, Any] = {
    "numbers": [1, -(2**70), 1.5, True, None, 1 + 2j],
    "text": ["a", "ü", b"bytes", bytearray(b"mutable")],
    "containers": {"t": (1, (2,)), "s": {1, 2}, "f": frozenset({3}), (1, 2): []},
    "collections": [
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        collections.Counter("aab"),
        collections.deque([1, 2], 3),
    ],
    "times": [
        datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
        datetime.date(2024, 1, 1),
        datetime.time(1, 2, 3, 4),
        datetime.timedelta(days=1, microseconds=1),
    ],
    "exact numbers": [decimal.Decimal("1.10"), fractions.Fraction(1, 3)],
    "ids and paths": [uuid.UUID(int=5), pathlib.Path("/a/b"), pathlib.PureWindowsPath("c:/x")],
    "odds": [range(1, 9, 2), slice(1, None, 2), Ellipsis, NotImplemented, int, dict],
    "namespace": types.SimpleNamespace(a=1),
}


ARRAYS: dict[str, Any] = {
    "floats": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12).reshape(3, 4)[:, ::2],
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "0-d": np.array(1.5),
    "empty": np.zeros((0, 3), np.int8),
    "big-endian": np.arange(3, dtype=">i4"),
    "bool": np.array([True, False]),
    "half": np.array([1.5], np.float16),
    "complex": np.array([1 + 2j]),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "datetime": np.array(["2024-01-01", "NaT"], "M8[25s]"),
    "timedelta": np.array([1, 2], "m8[ns]"),
    "void": np.array([b"abc"], "V3"),
    "struct": np.array([(1, (2.0, 3.0))], [("a", "<i4"), ("b", ">f8", (2,))]),
    "aligned": np.zeros(2, np.dtype([("a", "i1"), (("title", "b"), "f8")], align=True)),
    "objects": np.array([1, "a", [2], None, np.array(3)], object),
    "object matrix": np.asfortranarray(np.array([[1, "a"], [None, 2]], object)),
    "struct of objects": np.array([(1, "x")], [("a", "i4"), ("b", "O")]),
    "bfloat16": np.arange(3).astype(ml_dtypes.bfloat16),
    "records": np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "masked": np.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]], fill_value=9),
    "varied text": np.array(["a", "bc"], np.dtypes.StringDType()),
}


TENSORS: dict[str, Any] = {
    "float": torch.arange(6.0).reshape(2, 3),
    "transposed": torch.arange(6).reshape(2, 3).T,
    "part": torch.arange(10.0)[3:7:2],
    "0-d": torch.tensor(3),
    "empty": torch.zeros(0, 2),
    "bool": torch.tensor([True, False]),
    "complex": torch.tensor([1 + 2j]),
    "bfloat16": torch.tensor([1.5, -3.0], dtype=torch.bfloat16),
    "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
    "float8": torch.tensor([1.5], dtype=torch.float8_e4m3fn),
    "parameter": torch.nn.Parameter(torch.ones(2)),
}


def everything() -> bytes:
    """Return a pickle with something of everything."""
    parts = [*PLAIN.values(), *ARRAYS.values(), np.random.default_rng(1), Point(1)]
    return std_pickle.dumps([*parts, TENSORS["float"]], 5)
