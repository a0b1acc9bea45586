"""Enum members, classes and functions as rows of the typed dialect: by name, never by content."""

from __future__ import annotations

import enum
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from tune_ckpt.formats.extensions import Row, expect, register, unpacked
from tune_ckpt.formats.references import EnumValue, Reference, loaded_class, name_of

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing
    from tune_ckpt.formats.unpacking import Unpacking


def _write_enum(value: Any, packing: Packing) -> list[Any]:
    if isinstance(value, EnumValue):
        return [value.cls.name, value.name, *packing.guard([value.value])]
    kind = type(value)
    # A combination of flags has no entry of its own; Python 3.10 calls it None, 3.11 "A|B".
    name = value._name_ if value._name_ in kind.__members__ else None
    return [name_of(kind), name, *packing.guard([value._value_])]


def _read_enum(unpacking: Unpacking, name: Any, member: Any, value: Any) -> Any:
    cls = Reference(name)
    kind = loaded_class(name)
    if kind and issubclass(kind, enum.Enum):
        same = _combined(kind, value) if member is None else kind.__members__.get(member)
        if same is not None and unpacking.equal(same._value_, value):
            return same
    return EnumValue(cls, member if member is None else expect(str, member), value)


def _combined(kind: type[enum.Enum], value: Any) -> enum.Enum | None:
    if not _is_plain_flag(kind):
        return None
    try:
        return kind(expect(int, value))
    except ValueError:  # the class has lost one of these flags
        return None


def _is_plain_flag(kind: type[enum.Enum]) -> bool:
    # A class with a rule of its own for unknown values is not called: that would be its code.
    return issubclass(kind, enum.Flag) and kind._missing_.__func__ is enum.Flag._missing_.__func__  # type: ignore[attr-defined]  # both are class methods


def _write_reference(value: Any, _: Packing) -> list[Any]:
    return [value.name if isinstance(value, Reference) else name_of(value)]


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
