"""Containers that msgpack lacks, as rows of the typed dialect."""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

from tune_ckpt.formats.extensions import Refused, Row, expect, register
from tune_ckpt.formats.references import NamedTupleValue, Reference, loaded_class, name_of

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing
    from tune_ckpt.formats.unpacking import Unpacking


def _write_set(value: Any, packing: Packing) -> list[Any]:
    # Sorted by their bytes: the order of a set differs from run to run, the digest must not.
    return packing.sorted_members(value)


def _write_ordered(value: OrderedDict[Any, Any], packing: Packing) -> list[Any]:
    attributes = vars(value)  # torch's state_dict() carries the modules' versions so
    return [dict(value), *packing.guard([attributes] if attributes else [])]


def _read_ordered(_: Unpacking, items: Any, attributes: Any = None) -> OrderedDict[Any, Any]:
    ordered = OrderedDict(expect(dict, items))
    if attributes is not None:
        vars(ordered).update(expect(dict, attributes))
    return ordered


def _write_counter(value: Counter[Any], _: Packing) -> list[Any]:
    if vars(value):
        raise Refused(f"this Counter has attributes: {', '.join(vars(value))}")
    return [dict(value)]


def _read_counter(_: Unpacking, items: Any) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    dict.update(counter, expect(dict, items))
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
        name = getattr(factory, "__qualname__", type(factory).__qualname__)
        raise Refused(f"the factory of this defaultdict is {name}, not a built-in type")
    return [name, dict(value)]


def _read_defaultdict(_: Unpacking, factory: Any, items: Any) -> defaultdict[Any, Any]:
    return defaultdict(None if factory is None else _FACTORIES[factory], expect(dict, items))


def _write_deque(value: deque[Any], _: Packing) -> list[Any]:
    return [value.maxlen, list(value)]


def _read_deque(_: Unpacking, maxlen: Any, items: Any) -> deque[Any]:
    if maxlen is not None and len(items) > expect(int, maxlen):
        raise ValueError(f"{len(items)} items in a deque of at most {maxlen}")
    return deque(expect(list, items), maxlen)


def _is_namedtuple(kind: type) -> bool:
    if not issubclass(kind, tuple) or issubclass(kind, enum.Enum):
        return False
    return isinstance(getattr(kind, "_fields", None), tuple)


def _write_namedtuple(value: Any, packing: Packing) -> list[Any]:
    if isinstance(value, NamedTupleValue):
        name, fields, values = value.cls.name, value.fields, value.values
    else:
        name, fields, values = name_of(type(value)), type(value)._fields, value
        if getattr(value, "__dict__", None):
            raise Refused("this namedtuple has attributes besides its fields")
    return [name, list(fields), packing.guard(list(values), fields)]


def _read_namedtuple(_: Unpacking, name: Any, fields: Any, values: Any) -> Any:
    names = tuple(expect(str, field) for field in expect(list, fields))
    if len(names) != len(expect(list, values)):
        raise ValueError(f"{len(values)} values for {len(names)} fields")
    cls = Reference(name)
    kind = loaded_class(name)
    if kind and _is_namedtuple(kind) and kind._fields == names:  # type: ignore[attr-defined]  # it is a namedtuple
        return tuple.__new__(kind, values)
    return NamedTupleValue(cls, names, tuple(values))


def _values_by_field(_: Any, fields: Any, values: Any) -> dict[str, Any]:
    return dict(zip(fields, values, strict=True))


register(
    Row(
        1,
        "tuple",
        lambda value, _: value,
        lambda _, *parts: parts,
        contents=lambda *parts: [*parts],
        parts_are_items=True,
    ),
    tuple,
)
register(
    Row(2, "set", _write_set, lambda _, *parts: set(parts), parts_are_items=True),
    set,
)
register(
    Row(3, "frozenset", _write_set, lambda _, *parts: frozenset(parts), parts_are_items=True),
    frozenset,
)
register(
    Row(7, "OrderedDict", _write_ordered, _read_ordered, contents=lambda items, *_: items),
    OrderedDict,
)
register(
    Row(8, "defaultdict", _write_defaultdict, _read_defaultdict, contents=lambda _, items: items),
    defaultdict,
)
register(
    Row(9, "Counter", _write_counter, _read_counter, contents=lambda items: items),
    Counter,
)
register(
    Row(10, "deque", _write_deque, _read_deque, contents=lambda _, items: items),
    deque,
)
register(
    Row(11, "namedtuple", _write_namedtuple, _read_namedtuple, contents=_values_by_field),
    NamedTupleValue,
    family=_is_namedtuple,
)
