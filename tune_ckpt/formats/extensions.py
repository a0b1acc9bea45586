"""The typed dialect's table: one row a Python type that msgpack lacks.

A value of such a type is written as an array whose first element is an ext object with the row's
code and an empty payload (its *tag*); the other elements are what the row's ``write`` returns, and
``read`` makes the value of them again. No value of a user can look like that, since msgpack's own
ext objects are refused. A new type is one new row, here or in a backend's module.
"""

from __future__ import annotations

import datetime as dt
import enum
import importlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import BuiltinFunctionType, EllipsisType, FunctionType
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from msgpack import ExtType

from tune_ckpt.formats.references import (
    EnumValue,
    NamedTupleValue,
    Reference,
    loaded_class,
    name_of,
)

if TYPE_CHECKING:
    from tune_ckpt.formats.msgpack import Packing, Unpacking

Write = Callable[[Any, "Packing"], "list[Any] | tuple[Any, ...]"]
Read = Callable[..., Any]  # called with the Unpacking and the parts


class Refused(Exception):
    """A row cannot write this value; the message is the reason (never leaves floor 1)."""


@dataclass(frozen=True)
class Row:
    """How one type is written and read.

    Attributes:
        code: The tag's ext code, 0 to 127; part of the format, never reused.
        name: What the specification and messages call it.
        write: The value's parts: anything that can itself be written.
        read: The value again, from the `Unpacking` and the parts, one argument each. Wrong parts
            may raise any ordinary error.
        identity: For types of which one object under two names stays one object: what tells two
            such objects apart. None for the rest.
    """

    code: int
    name: str
    write: Write
    read: Read
    identity: Callable[[Any], Hashable] | None = None

    @property
    def tag(self) -> ExtType:
        """The array element that announces this row."""
        return ExtType(self.code, b"")


ROWS: dict[int, Row] = {}
_BY_TYPE: dict[type, Row | None] = {}
_FAMILIES: list[tuple[Callable[[type], bool], Row]] = []


def register(row: Row, *types: type, family: Callable[[type], bool] | None = None) -> None:
    """Add a row for exactly these types, or for the family of types that a test accepts."""
    assert row.code not in ROWS, f"ext code {row.code} is taken"
    ROWS[row.code] = row
    _BY_TYPE.update(dict.fromkeys(types, row))
    if family:
        _FAMILIES.append((family, row))


# A backend's rows live in a module of ours, imported when the first value or code of it is met.
_BACKENDS = {"torch": "torch_tensors"}
_BACKEND_OF_CODE = dict.fromkeys(range(60, 70), "torch")


def row_of(kind: type) -> Row | None:
    """Return the row for values of exactly this type, or None where there is none."""
    try:
        return _BY_TYPE[kind]
    except KeyError:
        backend = _BACKENDS.get(kind.__module__.partition(".")[0])
        if backend:
            importlib.import_module(f"tune_ckpt.formats.{backend}")
        found = (row for accepts, row in _FAMILIES if accepts(kind))
        return _BY_TYPE.setdefault(kind, next(found, None))


def row_with(code: int) -> Row | None:
    """Return the row with this ext code, or None where there is none."""
    if code not in ROWS and code in _BACKEND_OF_CODE:
        importlib.import_module(f"tune_ckpt.formats.{_BACKENDS[_BACKEND_OF_CODE[code]]}")
    return ROWS.get(code)


def unpacked(read: Callable[..., Any]) -> Read:
    """Return a row's ``read`` that needs the parts alone."""
    return lambda _, *parts: read(*parts)


# ---------------------------------------------------------------------------------- containers


def _write_set(value: Any, packing: Packing) -> list[Any]:
    # Sorted by their bytes: the order of a set differs from run to run, the digest must not.
    return sorted(value, key=packing.key_bytes)


def _write_ordered(value: OrderedDict[Any, Any], packing: Packing) -> list[Any]:
    attributes = vars(value)  # torch's state_dict() carries the modules' versions so
    return [dict(value), *packing.guard([attributes] if attributes else [])]


def _read_ordered(_: Unpacking, items: Any, attributes: Any = None) -> OrderedDict[Any, Any]:
    ordered = OrderedDict(_expect(dict, items))
    vars(ordered).update(attributes or {})
    return ordered


def _read_counter(_: Unpacking, items: Any) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    dict.update(counter, _expect(dict, items))
    return counter


_PLAIN_TYPES: tuple[type, ...] = (bool, int, float, complex, str, bytes, bytearray)
_PLAIN_TYPES += (list, tuple, dict, set, frozenset, OrderedDict, Counter, deque)
_FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in _PLAIN_TYPES}


def _write_defaultdict(value: defaultdict[Any, Any], _: Packing) -> list[Any]:
    factory = value.default_factory
    if factory is None:
        return [None, dict(value)]
    name = getattr(factory, "__name__", "")
    if _FACTORIES.get(name) is not factory:
        raise Refused(f"the factory of this defaultdict is {factory!r}, not a built-in type")
    return [name, dict(value)]


def _read_defaultdict(_: Unpacking, factory: Any, items: Any) -> defaultdict[Any, Any]:
    return defaultdict(None if factory is None else _FACTORIES[factory], _expect(dict, items))


def _write_deque(value: deque[Any], _: Packing) -> list[Any]:
    return [value.maxlen, list(value)]


def _read_deque(_: Unpacking, maxlen: Any, items: Any) -> deque[Any]:
    return deque(_expect(list, items), maxlen)


def _is_namedtuple(kind: type) -> bool:
    return issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)


def _write_namedtuple(value: Any, packing: Packing) -> list[Any]:
    if isinstance(value, NamedTupleValue):
        return [value.cls.name, list(value.fields), packing.guard(value.values)]
    if getattr(value, "__dict__", None):
        raise Refused("this namedtuple has attributes besides its fields")
    return [_name_of(type(value)), list(value._fields), packing.guard(list(value))]


def _read_namedtuple(_: Unpacking, name: Any, fields: Any, values: Any) -> Any:
    kind = loaded_class(_expect(str, name))
    if kind and _is_namedtuple(kind) and list(kind._fields) == fields:  # type: ignore[attr-defined]
        return tuple.__new__(kind, _expect(list, values))
    return NamedTupleValue(Reference(name), tuple(fields), _expect(list, values))


def _expect(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected, got {type(value).__name__}")
    return value


register(Row(1, "tuple", lambda value, _: value, lambda _, *parts: parts), tuple)
register(Row(2, "set", _write_set, lambda _, *parts: set(parts)), set)
register(Row(3, "frozenset", _write_set, lambda _, *parts: frozenset(parts)), frozenset)
register(Row(7, "OrderedDict", _write_ordered, _read_ordered), OrderedDict)
register(Row(8, "defaultdict", _write_defaultdict, _read_defaultdict), defaultdict)
register(Row(9, "Counter", lambda value, _: [dict(value)], _read_counter), Counter)
register(Row(10, "deque", _write_deque, _read_deque), deque)
register(
    Row(11, "namedtuple", _write_namedtuple, _read_namedtuple),
    NamedTupleValue,
    family=_is_namedtuple,
)

# -------------------------------------------------------------------------- numbers and bytes


def _write_int(value: int, _: Packing) -> list[Any]:
    return [value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)]


def _read_int(_: Unpacking, raw: Any) -> int:
    return int.from_bytes(_expect(bytes, raw), "little", signed=True)


def _read_decimal(_: Unpacking, sign: Any, digits: Any, exponent: Any) -> Decimal:
    return Decimal((sign, tuple(_expect(list, digits)), exponent))


def _write_decimal(value: Decimal, _: Packing) -> list[Any]:
    sign, digits, exponent = value.as_tuple()
    return [sign, list(digits), exponent]


def _write_bytearray(value: bytearray, _: Packing) -> list[Any]:
    return [bytes(value)]


def _read_bytearray(_: Unpacking, raw: Any) -> bytearray:
    return bytearray(_expect(bytes, raw))


register(Row(4, "int", _write_int, _read_int), int)
register(Row(5, "complex", lambda value, _: [value.real, value.imag], unpacked(complex)), complex)
register(Row(6, "bytearray", _write_bytearray, _read_bytearray), bytearray)
register(Row(26, "Decimal", _write_decimal, _read_decimal), Decimal)
register(
    Row(27, "Fraction", lambda value, _: [value.numerator, value.denominator], unpacked(Fraction)),
    Fraction,
)
register(Row(28, "UUID", lambda v, _: [v.bytes], lambda _, raw: UUID(bytes=raw)), UUID)

# -------------------------------------------------------------------------------- date and time


def _write_time(value: dt.time, _: Packing) -> list[Any]:
    return [value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold]


def _write_datetime(value: dt.datetime, packing: Packing) -> list[Any]:
    return [value.year, value.month, value.day, *_write_time(value.timetz(), packing)]


def _read_datetime(_: Unpacking, year: int, month: int, day: int, *time: Any) -> dt.datetime:
    hour, minute, second, microsecond, tz, fold = time
    return dt.datetime(year, month, day, hour, minute, second, microsecond, tz, fold=fold)


def _read_time(_: Unpacking, *time: Any) -> dt.time:
    hour, minute, second, microsecond, tz, fold = time
    return dt.time(hour, minute, second, microsecond, tz, fold=fold)


def _write_timezone(value: dt.timezone, _: Packing) -> Any:
    return value.__getinitargs__()  # type: ignore[attr-defined]


def _write_zone(value: ZoneInfo, _: Packing) -> list[Any]:
    if value.key is None:
        raise Refused("this ZoneInfo was read from a file and has no name")
    return [value.key]


register(Row(20, "datetime", _write_datetime, _read_datetime), dt.datetime)
register(Row(21, "date", lambda v, _: [v.year, v.month, v.day], unpacked(dt.date)), dt.date)
register(Row(22, "time", _write_time, _read_time), dt.time)
register(
    Row(23, "timedelta", lambda v, _: [v.days, v.seconds, v.microseconds], unpacked(dt.timedelta)),
    dt.timedelta,
)
register(Row(24, "timezone", _write_timezone, unpacked(dt.timezone)), dt.timezone)
register(Row(25, "ZoneInfo", _write_zone, unpacked(ZoneInfo)), ZoneInfo)

# ------------------------------------------------------------------- paths, slices, and the like

_PATHS: dict[str, type[PurePath]] = {
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
    # The other system's concrete paths cannot be made here: its pure ones have the same meaning.
    "PosixPath": Path if issubclass(type(Path()), PurePosixPath) else PurePosixPath,
    "WindowsPath": Path if issubclass(type(Path()), PureWindowsPath) else PureWindowsPath,
}


def _read_path(_: Unpacking, kind: Any, text: Any) -> PurePath:
    return _PATHS[kind](_expect(str, text))


register(
    Row(29, "path", lambda value, _: [type(value).__name__, str(value)], _read_path),
    type(Path()),
    PurePosixPath,
    PureWindowsPath,
)
register(Row(30, "range", lambda v, _: [v.start, v.stop, v.step], unpacked(range)), range)
register(
    Row(31, "slice", lambda v, packing: packing.guard([v.start, v.stop, v.step]), unpacked(slice)),
    slice,
)
register(Row(32, "Ellipsis", lambda *_: [], unpacked(lambda: ...)), EllipsisType)

# ------------------------------------------------------------- names: enums, classes, functions


def _name_of(value: Any) -> str:
    name = name_of(value)
    if name is None:
        raise Refused(f"{value!r} cannot be imported by its name")
    return name


def _write_enum(value: enum.Enum | EnumValue, packing: Packing) -> list[Any]:
    name = value.cls.name if isinstance(value, EnumValue) else _name_of(type(value))
    return [name, value.name, *packing.guard([value.value])]


def _read_enum(_: Unpacking, name: Any, member: Any, value: Any) -> Any:
    kind = loaded_class(_expect(str, name))
    if kind and issubclass(kind, enum.Enum):
        same = kind.__members__.get(member)
        if same is None and issubclass(kind, enum.Flag):
            same = kind(value)  # a combination of flags has no entry of its own
        if same is not None and type(same.value) is type(value) and same.value == value:
            return same
    return EnumValue(Reference(name), member, value)


def _write_reference(value: Any, _: Packing) -> list[Any]:
    return [value.name if isinstance(value, Reference) else _name_of(value)]


register(
    Row(12, "enum", _write_enum, _read_enum),
    EnumValue,
    family=lambda kind: issubclass(kind, enum.Enum),
)
register(
    Row(13, "reference", _write_reference, unpacked(Reference)),
    Reference,
    FunctionType,
    BuiltinFunctionType,
    family=lambda kind: issubclass(kind, type),
)
