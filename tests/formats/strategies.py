"""Hypothesis strategies: one for each row of the table, and whole states of them."""

from __future__ import annotations

import datetime as dt
import enum
import random
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import strategies as st

from tune_ckpt.formats.references import EnumValue, NamedTupleValue, Reference

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None


class Point(NamedTuple):
    x: Any
    y: Any = None


class Color(enum.Enum):
    RED = 1
    GREEN = "green"
    NAN = float("nan")
    TUPLE = (1, 2.5, "x")
    ONE = 1  # an alias


class Number(enum.IntEnum):
    ZERO = 0
    ONE = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


def a_function() -> None:
    """Named in documents, never called."""


# ------------------------------------------------------------------------------- plain values

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
small_ints = st.integers(-(2**63), 2**64 - 1)
big_ints = st.integers(2**64, 2**200) | st.integers(-(2**200), -(2**63) - 1)
floats = st.floats(allow_nan=True, allow_infinity=True, width=64)
raw = st.binary(max_size=12)
zones = st.sampled_from([dt.timezone.utc, dt.timezone(dt.timedelta(hours=-3), "X"), None])
timezones = st.builds(
    dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))
) | st.just(dt.timezone(dt.timedelta(0), "Zulu"))
zone_infos = st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]).map(ZoneInfo)
folds = st.sampled_from([0, 1])


@st.composite
def datetimes(draw: Any) -> dt.datetime:
    moment = draw(st.datetimes(timezones=zones | zone_infos))
    return moment.replace(fold=draw(folds))


decimals = st.decimals() | st.sampled_from(
    [Decimal(text) for text in ("-0", "0E+5", "NaN123", "-sNaN7", "1.10", "-Infinity", "1E+999999")]
)
paths = st.builds(
    lambda kind, parts: kind("/".join(parts).lstrip("/")),
    st.sampled_from([PurePosixPath, PureWindowsPath, PosixPath]),
    st.lists(text, max_size=3),
)
enums = st.sampled_from([*Color, *Number, *Access, Access.READ | Access.WRITE, Access(0)])
enum_values = st.builds(EnumValue, st.just(Reference("gone:Enum")), text, small_ints)
references = st.just(Reference("somewhere.else:Thing"))

# ------------------------------------------------------------------------------------- arrays

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
_PLAIN = [f"{order}{kind}" for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u8", "f2")]
_PLAIN += [f"{order}{kind}" for order in "<>" for kind in ("f4", "f8", "c8", "c16")]
_PLAIN += ["|i1", "|u1", "|S1", "|S5", "|V3", "<M8[ns]", ">M8[25s]", "<m8[D]", "<M8", "<m8"]
plain_dtypes = st.sampled_from(_PLAIN).map(np.dtype)
if ml_dtypes is not None:
    _ML = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz")
    ml = st.sampled_from([np.dtype(getattr(ml_dtypes, name)) for name in _ML])
    plain_dtypes |= ml


@st.composite
def struct_dtypes(draw: Any, inner: Any = plain_dtypes) -> np.dtype[Any]:
    names = draw(st.lists(text.filter(bool), min_size=1, max_size=3, unique=True))
    fields = [(name, draw(inner), draw(shapes)) for name in names]
    dtype = np.dtype(fields, align=draw(st.booleans()))
    return np.dtype((np.record, dtype)) if draw(st.booleans()) else dtype


bit_dtypes = plain_dtypes | struct_dtypes() | struct_dtypes(struct_dtypes())  # any bits will do
dtypes = bit_dtypes | st.sampled_from([np.dtype("?"), np.dtype("<U7"), np.dtype(">U2")])
dtypes |= st.builds(lambda base, shape: np.dtype((base, shape)), bit_dtypes, shapes.filter(bool))
dtypes |= st.sampled_from([np.dtype(object), np.dtype(np.longdouble)])


def _of_bits(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int) -> Any:
    count = int(np.prod(shape))
    bits = np.random.default_rng(seed).integers(0, 256, count * dtype.itemsize, np.uint8)
    return (
        np.frombuffer(bytearray(bits), dtype, count).reshape(shape)
        if bits.size
        else np.empty(shape, dtype)
    )


seeds = st.integers(0, 2**32)
plain_arrays = st.builds(_of_bits, bit_dtypes, shapes, seeds)
plain_arrays |= st.builds(
    lambda shape, seed: _of_bits(np.dtype("u1"), shape, seed) > 99, shapes, seeds
)
plain_arrays |= st.lists(text, max_size=4).map(lambda items: np.array(items, "<U8"))
plain_arrays |= st.lists(floats, max_size=4).map(lambda items: np.array(items, np.longdouble))
plain_arrays |= st.builds(
    lambda count, seed: _of_bits(np.dtype("<f8"), (count,), seed), st.integers(120, 400), seeds
)
if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType"):
    _missing = st.sampled_from([{}, {"na_object": None}, {"na_object": float("nan")}])
    plain_arrays |= st.builds(
        lambda items, missing, coerce: np.array(
            [*items, *missing.values()], np.dtypes.StringDType(coerce=coerce, **missing)
        ),
        st.lists(text, max_size=4),
        _missing,
        st.booleans(),
    )


@st.composite
def laid_out(draw: Any, arrays: Any = plain_arrays) -> Any:
    """An array in some memory order, writable or not."""
    array = draw(arrays)
    axes = draw(st.permutations(range(array.ndim)))
    array = np.array(array).transpose(axes)
    if array.ndim and draw(st.booleans()):
        array = array[:: draw(st.sampled_from([1, 2, -1]))]
    if draw(st.booleans()):
        array = array.copy(order="K")
    array = np.asanyarray(array)
    array.flags.writeable = draw(st.booleans())
    return array


def _masked(array: Any, bits: int, fill: bool, hard: bool) -> Any:
    mask = np.zeros(array.shape, np.ma.make_mask_descr(array.dtype))
    if mask.nbytes:
        mask.reshape(-1).view(np.uint8)[:] = np.random.default_rng(bits).integers(
            0, 2, mask.nbytes, np.uint8
        )
    masked = np.ma.MaskedArray(array, np.ma.nomask if bits % 3 == 0 else mask, hard_mask=hard)
    if fill and array.size:
        masked.fill_value = array.reshape(-1)[0]
    elif fill:
        _ = masked.fill_value  # NumPy invents one, and keeps it
    return masked


_FILLABLE = [code for code in _PLAIN[:20] if "f2" not in code]  # whose default fill is finite
_MASKABLE = st.builds(
    _of_bits,
    st.sampled_from([*_FILLABLE, "<M8[ns]"]).map(np.dtype)
    | struct_dtypes(st.sampled_from(_FILLABLE).map(np.dtype)),
    shapes,
    seeds,
)
masked_arrays = st.builds(_masked, _MASKABLE, seeds, st.booleans(), st.booleans())
recarrays = st.builds(
    lambda dtype, shape, seed: _of_bits(dtype, shape, seed).view(np.recarray),
    struct_dtypes(),
    shapes,
    seeds,
)
scalars = st.builds(lambda dtype, seed: _of_bits(dtype, (1,), seed)[0], bit_dtypes, seeds)
scalars = scalars.filter(lambda value: type(value) not in (np.bytes_, np.str_))
scalars |= st.sampled_from([np.True_, np.float64(0.5), np.longdouble(0.1), np.clongdouble(0.1)])

# ----------------------------------------------------------------------------- random states

_BITS = st.sampled_from(["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
bit_generators = st.builds(lambda name, seed: getattr(np.random, name)(seed), _BITS, seeds)


@st.composite
def generators(draw: Any) -> np.random.Generator:
    generator = np.random.Generator(draw(bit_generators))
    generator.random(draw(st.integers(0, 700)))
    generator.integers(0, 9, 3, dtype=np.uint8)
    return generator


# Before NumPy 1.25 a generator cannot be made that has no seed sequence, as a seed leaves it.
_LEGACY_SEEDS = bit_generators
if hasattr(np.random.BitGenerator, "seed_seq"):
    _LEGACY_SEEDS |= st.integers(0, 2**32 - 1)


@st.composite
def legacy(draw: Any) -> np.random.RandomState:
    seed = draw(_LEGACY_SEEDS)
    state = np.random.RandomState(seed)
    state.randn(draw(st.integers(0, 3)))
    return state


@st.composite
def python_random(draw: Any) -> random.Random:
    generator = random.Random(draw(seeds))
    for _ in range(draw(st.integers(0, 3))):
        generator.gauss(0, 1)
    return generator


seed_sequences = st.builds(
    np.random.SeedSequence,
    st.none() | st.integers(0, 2**200) | st.lists(st.integers(0, 2**40), max_size=3),
    spawn_key=st.lists(st.integers(0, 2**32 - 1), max_size=2).map(tuple),
    pool_size=st.sampled_from([4, 8]),
    n_children_spawned=st.integers(0, 5),
)

# --------------------------------------------------------------------------------- containers

hashables = st.one_of(
    st.none(),
    st.booleans(),
    small_ints,
    big_ints,
    floats,
    text,
    raw,
    decimals.filter(lambda value: not value.is_snan()),
    paths,
    enums,
    datetimes(),
    st.dates(),
    st.uuids(),
    st.fractions(),
    references,
)
keys = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(inner, max_size=3)
        | st.builds(Point, inner, inner)
        | st.builds(NamedTupleValue, references, st.just(("a",)), st.tuples(inner))
    ),
    max_leaves=4,
)


def dicts(values: Any) -> Any:
    return st.dictionaries(keys, values, max_size=4)


def _ordered(items: dict[Any, Any], attributes: dict[str, Any]) -> OrderedDict[Any, Any]:
    ordered = OrderedDict(items)
    vars(ordered).update(attributes)
    return ordered


def rows_of(values: Any) -> dict[str, Any]:
    """Return one strategy for each row, those of containers with ``values`` inside."""
    names = st.sampled_from(["x", "y", "_metadata"])
    lists = st.lists(values, max_size=4)
    return {
        "tuple": lists.map(tuple),
        "set": st.sets(keys, max_size=4),
        "frozenset": st.frozensets(keys, max_size=4),
        "int": big_ints,
        "complex": st.builds(complex, floats, floats),
        "bytearray": st.builds(bytearray, raw),
        "OrderedDict": st.builds(_ordered, dicts(values), st.dictionaries(names, values)),
        "defaultdict": st.builds(
            defaultdict, st.sampled_from([None, int, list, dict, deque]), dicts(values)
        ),
        "Counter": st.builds(Counter, st.dictionaries(keys, st.integers(), max_size=3)),
        "deque": st.builds(deque, lists, st.sampled_from([None, 4, 9])),
        "namedtuple": st.builds(Point, values, values)
        | st.builds(NamedTupleValue, references, st.just(("a", "b")), st.tuples(values, values)),
        "enum": enums | enum_values,
        "reference": references,
        "datetime": datetimes(),
        "date": st.dates(),
        "time": st.times(timezones=zones).flatmap(
            lambda time: folds.map(lambda fold: time.replace(fold=fold))
        ),
        "timedelta": st.timedeltas(),
        "timezone": timezones,
        "ZoneInfo": zone_infos,
        "Decimal": decimals,
        "Fraction": st.fractions(),
        "UUID": st.uuids(),
        "path": paths,
        "range": st.builds(range, st.integers(), st.integers(), st.integers(1, 2**70)),
        "slice": st.builds(slice, values, values, values),
        "Ellipsis": st.just(...),
        "ndarray": laid_out() | st.lists(values, max_size=6).map(_object_array),
        "NumPy scalar": scalars,
        "numpy.str_": text.map(np.str_),
        "numpy.bytes_": raw.map(np.bytes_),
        "masked array": masked_arrays,
        "dtype": dtypes,
        "recarray": recarrays,
        "Random": python_random(),
        "Generator": generators(),
        "RandomState": legacy(),
        "SeedSequence": seed_sequences,
        "bit generator": bit_generators,
    }


def _object_array(items: list[Any]) -> Any:
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        array[index] = item
    return array.reshape(2, -1, order="F") if len(items) in (4, 6) else array


natives = st.one_of(st.none(), st.booleans(), small_ints, floats, text, raw)
ROWS = rows_of(natives)
leaves = natives | st.one_of(*ROWS.values())
states = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), dicts(inner), *list(rows_of(inner).values())[:11]
    ),
    max_leaves=12,
)
