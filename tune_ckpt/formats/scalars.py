"""Numbers, bytes, dates, paths and the like, as rows of the typed dialect."""

from __future__ import annotations

import datetime as dt
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import EllipsisType
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.formats.extensions import Refused, Row, expect, register, unpacked

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing
    from tune_ckpt.formats.unpacking import Unpacking

# -------------------------------------------------------------------------- numbers and bytes

_FRACTION_BITS = 100_000  # reducing a fraction takes time that grows with the square


def _write_int(value: int, _: Packing) -> list[Any]:
    return [value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)]


def _read_int(_: Unpacking, raw: Any) -> int:
    return int.from_bytes(expect(bytes, raw), "little", signed=True)


def _read_complex(_: Unpacking, real: Any, imag: Any) -> complex:
    return complex(expect(float, real), expect(float, imag))


# str(value) follows the thread's own context, which may ask for a small "e".
_text_of_decimal = Context(capitals=1).to_sci_string


def _write_decimal(value: Decimal, _: Packing) -> list[Any]:
    return [_text_of_decimal(value)]


def _read_decimal(_: Unpacking, text: Any) -> Decimal:
    value = Decimal(expect(str, text))
    if _text_of_decimal(value) != text:
        raise ValueError("a decimal that is not written as Python writes it")
    return value


def _write_fraction(value: Fraction, _: Packing) -> list[Any]:
    parts = [value.numerator, value.denominator]
    if max(part.bit_length() for part in parts) > _FRACTION_BITS:
        raise Refused(f"a fraction of more than {_FRACTION_BITS} bits")
    return parts


def _read_fraction(_: Unpacking, numerator: Any, denominator: Any) -> Fraction:
    parts = [expect(int, numerator), expect(int, denominator)]
    if max(part.bit_length() for part in parts) > _FRACTION_BITS:
        raise ValueError(f"a fraction of more than {_FRACTION_BITS} bits")
    return Fraction(*parts)


def _write_bytearray(value: bytearray, _: Packing) -> list[Any]:
    return [bytes(value)]


def _read_bytearray(_: Unpacking, raw: Any) -> bytearray:
    return bytearray(expect(bytes, raw))


def _read_uuid(_: Unpacking, raw: Any) -> UUID:
    return UUID(bytes=expect(bytes, raw))


register(Row(4, "int", _write_int, _read_int), int)
register(Row(5, "complex", lambda value, _: [value.real, value.imag], _read_complex), complex)
register(Row(6, "bytearray", _write_bytearray, _read_bytearray), bytearray)
register(Row(26, "Decimal", _write_decimal, _read_decimal), Decimal)
register(Row(27, "Fraction", _write_fraction, _read_fraction), Fraction)
register(Row(28, "UUID", lambda value, _: [value.bytes], _read_uuid), UUID)

# -------------------------------------------------------------------------------- date and time


def _write_time(value: dt.time, _: Packing) -> list[Any]:
    return [value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold]


def _write_datetime(value: dt.datetime, packing: Packing) -> list[Any]:
    return [value.year, value.month, value.day, *_write_time(value.timetz(), packing)]


def _read_datetime(_: Unpacking, year: int, month: int, day: int, *time: Any) -> dt.datetime:
    hour, minute, second, microsecond, tz, fold = time
    return dt.datetime(year, month, day, hour, minute, second, microsecond, tz, fold=fold)


def _read_date(_: Unpacking, year: int, month: int, day: int) -> dt.date:
    return dt.date(year, month, day)


def _read_time(_: Unpacking, *time: Any) -> dt.time:
    hour, minute, second, microsecond, tz, fold = time
    return dt.time(hour, minute, second, microsecond, tz, fold=fold)


def _read_delta(_: Unpacking, days: Any, seconds: Any, microseconds: Any) -> dt.timedelta:
    return dt.timedelta(expect(int, days), expect(int, seconds), expect(int, microseconds))


def _write_timezone(value: dt.timezone, _: Packing) -> Any:
    return value.__getinitargs__()  # type: ignore[attr-defined]  # typeshed lacks what pickle calls


def _write_zone(value: ZoneInfo, _: Packing) -> list[Any]:
    if value.key is None:
        raise Refused("this ZoneInfo was read from a file and has no name")
    return [value.key]


def _read_zone(_: Unpacking, key: Any) -> ZoneInfo:
    try:
        return ZoneInfo(expect(str, key))
    except (ZoneInfoNotFoundError, OSError) as error:
        raise MissingDependencyError("tzdata", f"The time zone {key!r}") from error


register(Row(20, "datetime", _write_datetime, _read_datetime), dt.datetime)
register(Row(21, "date", lambda v, _: [v.year, v.month, v.day], _read_date), dt.date)
register(Row(22, "time", _write_time, _read_time), dt.time)
register(
    Row(23, "timedelta", lambda v, _: [v.days, v.seconds, v.microseconds], _read_delta),
    dt.timedelta,
)
register(Row(24, "timezone", _write_timezone, unpacked(dt.timezone)), dt.timezone)
register(Row(25, "ZoneInfo", _write_zone, _read_zone), ZoneInfo)

# ------------------------------------------------------------------- paths, slices, and the like

_PATHS: dict[str, type[PurePath]] = {
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
    # The other system's concrete paths cannot be made here: its pure ones have the same meaning.
    "PosixPath": Path if issubclass(type(Path()), PurePosixPath) else PurePosixPath,
    "WindowsPath": Path if issubclass(type(Path()), PureWindowsPath) else PureWindowsPath,
}


def _write_path(value: PurePath, _: Packing) -> list[Any]:
    kind, text = type(value), str(value)
    if repr(kind(text)) != repr(value):
        raise Refused(f"Python would read {text!r} as another path")  # some of UNC roots
    return [kind.__name__, text]


def _read_path(_: Unpacking, kind: Any, text: Any) -> PurePath:
    return _PATHS[kind](expect(str, text))


def _read_range(_: Unpacking, start: Any, stop: Any, step: Any) -> range:
    return range(expect(int, start), expect(int, stop), expect(int, step))


def _write_slice(value: slice, packing: Packing) -> list[Any]:
    return packing.guard([value.start, value.stop, value.step])


register(
    Row(29, "path", _write_path, _read_path),
    type(Path()),
    PurePosixPath,
    PureWindowsPath,
)
register(Row(30, "range", lambda v, _: [v.start, v.stop, v.step], _read_range), range)
register(Row(31, "slice", _write_slice, lambda _, a, b, c: slice(a, b, c)), slice)
register(Row(32, "Ellipsis", lambda *_: [], unpacked(lambda: ...)), EllipsisType)
