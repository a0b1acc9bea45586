"""What the types of inert values are taken for: containers, arrays, plain values. A table."""

from __future__ import annotations

import enum
import random
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial, singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from tune_ckpt.formats.arrays import in_memory_order, raw_bytes, with_zeros
from tune_ckpt.formats.dtypes import unused_bytes
from tune_ckpt.formats.parts import label
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.references import EnumValue, NamedTupleValue, Reference
from tune_ckpt.tree.inspection.found import UNTOLD, Array, Child, Found, Group, Named, Value


@singledispatch
def look(value: Any) -> Found:
    """Return what a value is: by its type, most special first."""
    return Value(value)


def dict_children(items: Mapping[Any, Any]) -> list[Child]:
    """Return the children of a dict."""
    return [Child(_step(key), label(key), item) for key, item in items.items()]


def list_children(items: Sequence[Any], labels: Sequence[str] = ()) -> list[Child]:
    """Return the children of a sequence, whose paths may call them otherwise than by number."""
    return [
        Child(number, labels[number] if labels else str(number), item)
        for number, item in enumerate(items)
    ]


def _step(key: Any) -> Any:
    # Keys are found again in the other checkpoint by their contents, inert ones too.
    if type(key) is str:
        return key
    found = look(key)
    if isinstance(found, Group):
        return found.kind, tuple(child.step for child in found.children), _steps_in(found)
    plain = isinstance(key, _EXACT)
    return type(key).__name__, key if plain else repr(key)


def _steps_in(found: Group) -> tuple[Any, ...]:
    return tuple(_step(child.value) for child in found.children)


_EXACT = (bool, int, bytes, type(None))


@look.register(dict)
def _(value: dict[Any, Any]) -> Found:
    return Group(type(value).__name__, value, dict_children(value))


@look.register(list)
@look.register(tuple)
@look.register(deque)
def _(value: Sequence[Any]) -> Found:
    if hasattr(value, "_fields"):
        kind = type(value)
        return _named_tuple(f"{kind.__module__}:{kind.__qualname__}", value, kind._fields, value)
    return Group(type(value).__name__, value, list_children(value))


def _named_tuple(name: str, owner: Any, fields: Sequence[str], values: Sequence[Any]) -> Found:
    # A pickle does not tell the fields: the steps are numbers, to be the same there.
    return Group(name, owner, list_children(values, fields))


@look.register(set)
@look.register(frozenset)
def _(value: Any) -> Found:
    members = [Child(_step(member), label(member), member) for member in value]
    return Group(type(value).__name__, value, sorted(members, key=lambda child: repr(child.step)))


@look.register
def _(value: NamedTupleValue) -> Found:
    return _named_tuple(value.cls.name, value, value.fields, value.values)


@look.register
def _(value: enum.Enum) -> Found:
    kind = type(value)
    return Group(f"{kind.__module__}:{kind.__qualname__}", value, list_children([value.value]))


@look.register
def _(value: EnumValue) -> Found:
    return Group(value.cls.name, value, list_children([value.value]))


@look.register
def _(value: Reference) -> Found:
    return Value(Named(value.name))


@look.register
def _(value: type) -> Found:
    return Value(Named(f"{value.__module__}:{value.__qualname__}"))


@look.register
def _(value: Opaque) -> Found:
    name = f"{value.module}:{value.name}"
    if value.args is None:
        return Value(Named(name))
    children = [*list_children(value.args), *dict_children(value.kwargs)]
    if isinstance(value.state, dict):
        children += dict_children(value.state)
    elif value.state is not None:
        children.append(Child(("state",), "state", value.state))
    children += [_under("items", child) for child in list_children(value.items)]
    for number, (key, item) in enumerate(value.pairs):
        step = label(key) if type(key) is str else str(number)
        children.append(_under("pairs", Child(step, step, item)))
    return Group(name, value, children)


def _under(name: str, child: Child) -> Child:
    return Child((name, child.step), f"{name}/{child.label}", child.value)


@look.register(np.ndarray)
def _(value: npt.NDArray[Any]) -> Found:
    if value.dtype.hasobject:
        kind = f"array of objects {value.shape}"
        return Group(kind, value, list_children(value.reshape(-1).tolist()))
    return Array(
        UNTOLD if type(value) is np.ndarray else type(value).__name__,
        value.dtype,
        value.shape,
        order_of(value),
        partial(array_digest, value),
        lambda: value,
        value,
    )


@look.register(np.ma.MaskedArray)
def _(value: Any) -> Found:
    parts = {
        "data": np.ma.getdata(value),
        "mask": np.ma.getmaskarray(value),
        "fill_value": value._fill_value,  # the public attribute invents one
    }
    return Group(type(value).__name__, value, dict_children(parts))


@look.register
def _(value: random.Random) -> Found:
    version, (*words, position), gauss = value.getstate()
    state = {"version": version, "words": np.array(words, "u4"), "position": position}
    return Group("Random", value, dict_children({**state, "gauss": gauss}))


@look.register
def _(value: np.random.Generator) -> Found:
    return Group("Generator", value, dict_children({"bits": value.bit_generator}))


@look.register
def _(value: np.random.BitGenerator) -> Found:
    seed = getattr(value, "seed_seq", None)  # since NumPy 1.25
    return Group(type(value).__name__, value, dict_children({**value.state, "seed": seed}))


@look.register
def _(value: np.random.RandomState) -> Found:
    # What it was seeded with once says nothing of what comes, and pickles lose it.
    return Group("RandomState", value, dict_children(value.get_state(legacy=False)))


def order_of(array: npt.NDArray[Any]) -> tuple[int, ...] | None:
    """Return an array's axes in memory order; None for C order."""
    order = in_memory_order(array)[1]
    return None if order is None else tuple(order)


def array_digest(array: npt.NDArray[Any]) -> str:
    """Return the digest that a document has of an array's elements, in memory order."""
    straight, _ = in_memory_order(array)
    unused = unused_bytes(array.dtype)
    if unused is not None:
        straight = with_zeros(straight, unused)
    return xxhash.xxh3_128_hexdigest(raw_bytes(straight))
