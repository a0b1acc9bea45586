"""One value for each row of the table, the same in every Python: what the golden files hold."""

from __future__ import annotations

import datetime as dt
import enum
import importlib.util
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from tune_ckpt.formats.extensions import ROWS, Row, row_with
from tune_ckpt.formats.unpacking import SHARED_ROW

Point = namedtuple("Point", "x y")


class Color(enum.Enum):
    RED = 1
    BLUE = (1, "b")


class Access(enum.Flag):
    READ = 1
    WRITE = 2


def _ordered() -> OrderedDict[str, Any]:
    ordered: OrderedDict[str, Any] = OrderedDict(b=1, a=2)
    vars(ordered)["_metadata"] = {"version": 1}
    return ordered


def _times() -> list[Any]:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 6)
    return [moment, moment.replace(tzinfo=dt.timezone.utc, fold=1)]


def _arrays() -> list[Any]:
    shared = np.arange(300, dtype="<f8")  # in a blob
    read_only = np.arange(3, dtype="|u1")
    read_only.flags.writeable = False
    objects = np.empty((2, 2), object)
    objects[:] = [[None, "a"], [1, 2.5]]
    struct = np.zeros(2, np.dtype([("a", "|i1"), ("b", ">f4", (2,))], align=True))
    struct["b"] = 1.5
    return [
        shared,
        np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        np.arange(24, dtype="<u2").reshape(2, 3, 4).transpose(1, 0, 2),
        np.zeros((0, 3), "<f2"),
        np.array(True),
        np.array(["a", "bcd"], "<U3"),
        np.array([b"x"], "|S2"),
        np.array(["2026-01-02", "NaT"], "<M8[D]"),
        np.array([1.5, np.nan], "<c16"),
        struct,
        objects,
        read_only,
        shared,
    ]


def _masked() -> list[Any]:
    plain = np.ma.MaskedArray([1.0, 2.0], fill_value=-1.0)
    mask = [(True, False), (False, True)]
    data = np.array([(1, 2.0), (3, 4.0)], [("a", "<i4"), ("b", "<f8")])
    return [plain, np.ma.MaskedArray(data, mask, hard_mask=True)]


def _records() -> Any:
    return np.rec.array([(1, 2.0), (3, 4.0)], dtype=[("a", "<i4"), ("b", "<f8")])


def _dtypes() -> list[Any]:
    return [
        np.dtype(">f8"),
        np.dtype("<M8[25s]"),
        np.dtype([("a", "|i1"), ("b", "<f8", (2, 1))], align=True),
        np.dtype((np.record, [("a", "|b1")])),
        np.dtype(("<i4", (2, 3))),
        np.dtype(object),
    ]


def _python_random() -> random.Random:
    generator = random.Random(5)
    generator.gauss(0, 1)
    return generator


def _bits() -> list[Any]:
    kinds = (np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM)
    return [kind(7) for kind in (*kinds, np.random.Philox, np.random.SFC64)]


def _legacy() -> np.random.RandomState:
    state = np.random.RandomState(9)
    state.randn()
    return state


def _shared() -> list[Any]:
    array = np.arange(3, dtype="<i8")
    return [array, (array, array)]


VALUES: dict[str, Callable[[], Any]] = {
    "native": lambda: {
        "none": None,
        "numbers": [True, 0, -1, 2**64 - 1, -(2**63), 0.0, -0.0, 1.5, float("inf")],
        "text": "größe",
        "bytes": b"\x00\xff",
        1: {2.5: [], None: [], b"k": {}, False: {}},
    },
    "tuple": lambda: [(), (1, (2, [3])), {(1, "a"): None}],
    "set": lambda: [set(), {3, "b", (1, 2), frozenset({1, 2})}],
    "frozenset": lambda: frozenset({b"x", None, 2.5}),
    "int": lambda: [2**64, -(2**63) - 1, 2**200],
    "complex": lambda: complex(-0.0, 2.5),
    "bytearray": lambda: [bytearray(b"abc"), bytearray()],
    "OrderedDict": _ordered,
    "defaultdict": lambda: [defaultdict(list, {"x": [1]}), defaultdict(None, {1: 2})],
    "Counter": lambda: Counter({"b": 2, "a": 1}),
    "deque": lambda: [deque([1, 2], 5), deque()],
    "namedtuple": lambda: Point(1, [2]),
    "enum": lambda: [Color.RED, Color.BLUE, Access.READ | Access.WRITE],
    "reference": lambda: [int, len, Point],
    "datetime": _times,
    "date": lambda: dt.date(2026, 1, 2),
    "time": lambda: dt.time(1, 2, 3, 4, fold=1),
    "timedelta": lambda: dt.timedelta(-1, 2, 3),
    "timezone": lambda: [dt.timezone.utc, dt.timezone(dt.timedelta(hours=2), "here")],
    "ZoneInfo": lambda: ZoneInfo("Europe/Berlin"),
    "Decimal": lambda: [Decimal("1.50"), Decimal("-0E+3"), Decimal("sNaN7")],
    "Fraction": lambda: Fraction(-1, 3),
    "UUID": lambda: UUID(int=5),
    "path": lambda: [PurePosixPath("a/b"), PureWindowsPath("c:/d")],
    "range": lambda: range(1, 9, 2),
    "slice": lambda: slice(None, 3, -1),
    "Ellipsis": lambda: ...,
    "ndarray": _arrays,
    "NumPy scalar": lambda: [np.float32(1.5), np.bool_(True), np.datetime64("2026-01-02", "s")],
    "numpy.str_": lambda: np.str_("a\0"),
    "numpy.bytes_": lambda: np.bytes_(b"a\0"),
    "masked array": _masked,
    "dtype": _dtypes,
    "recarray": _records,
    "Random": _python_random,
    "Generator": lambda: np.random.Generator(np.random.PCG64(3)),
    "RandomState": _legacy,
    "SeedSequence": lambda: np.random.SeedSequence(2**100, spawn_key=(1, 2), pool_size=8),
    "bit generator": _bits,
    "shared value": _shared,
}


def rows_here() -> list[Row]:
    """Return every row of the table whose backend is installed."""
    absent: set[int] = set()  # their rows may be in the table by what another test has read
    for backend, code in {"torch": 60, "jax": 80}.items():
        if importlib.util.find_spec(backend):
            row_with(code)
        else:
            absent |= {*range(code, code + 10)}
    return [row for row in (*ROWS.values(), SHARED_ROW) if row.code not in absent]


if importlib.util.find_spec("torch"):
    import torch

    def _tensors() -> list[Any]:
        weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
        bits = torch.tensor([1.5, -0.0], dtype=torch.bfloat16)
        return [weight, weight.detach(), torch.ones(2, 3).t(), bits, torch.tensor(True)]

    VALUES |= {
        "torch tensor": _tensors,
        "torch dtype": lambda: [torch.float32, torch.bfloat16],
        "torch device": lambda: [torch.device("cpu"), torch.device("cuda", 1)],
        "torch Size": lambda: torch.Size([2, 3]),
        "torch Generator": lambda: torch.Generator().manual_seed(3),
    }
if importlib.util.find_spec("jax"):
    import jax.numpy as jnp

    VALUES["jax array"] = lambda: [jnp.arange(3.0), jnp.ones((2, 1), jnp.bfloat16), jnp.asarray(1)]
