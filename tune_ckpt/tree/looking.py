"""Looking at one inert value: a container and its children, an array, or a plain value.

`walk` goes through a whole state so. What a type is taken for stands in the table of `look`.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from tune_ckpt.formats.arrays import in_memory_order, raw_bytes, with_zeros
from tune_ckpt.formats.dtypes import unused_bytes
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.references import EnumValue, NamedTupleValue, Reference
from tune_ckpt.formats.walking import label

Key = tuple[Any, ...]  # a path whose steps cannot be mistaken for each other: 1 is not "1"


UNTOLD = "array"  # the kind of an array of which nothing tells the kind


@dataclass(frozen=True)
class ArrayFacts:
    """What is known of one array without its elements.

    Attributes:
        path: Where it stands in its component's state.
        kind: ``ndarray``, ``torch tensor``, ...; ``array`` (`UNTOLD`) from pickles and RLlib's
            files, which are read without what would tell.
        dtype: Its dtype: ``float32``, ``bfloat16``, ``>i4``.
        shape: Its shape.
        nbytes: The size of its elements; 0 where they are Python objects.
    """

    path: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


class Child(NamedTuple):
    """One value in a container: its step of the `Key`, what a path calls it, and itself."""

    step: Any
    label: str
    value: Any


@dataclass(frozen=True)
class Group:
    """A container, or an object that was not made.

    Attributes:
        kind: Its type.
        owner: The container itself.
        children: What is in it.
    """

    kind: str
    owner: Any = field(repr=False)
    children: Sequence[Child] = field(repr=False)


@dataclass(frozen=True)
class Array:
    """An array whose elements are not Python objects.

    Attributes:
        kind: As in `ArrayFacts`.
        dtype: Its dtype.
        shape: Its shape.
        order: Its axes in memory order; None for C order.
        digest: Returns the XXH3-128 of its elements in that order.
        read: Returns it.
        owner: What is the same object for the same array.
    """

    kind: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: tuple[int, ...] | None
    digest: Callable[[], str]
    read: Callable[[], npt.NDArray[Any]]
    owner: Any = field(repr=False)

    def facts(self, path: str) -> ArrayFacts:
        """Return what is known without the elements."""
        nbytes = math.prod(self.shape) * self.dtype.itemsize
        return ArrayFacts(path, self.kind, str(self.dtype), self.shape, nbytes)


@dataclass(frozen=True)
class Value:
    """Anything else."""

    value: Any


@dataclass(frozen=True)
class Named:
    """A class or function by its import name, or what stands for something that has no value."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


Found = Group | Array | Value


def walk(
    root: Any, look: Callable[[Any], Found], *, once: bool = False
) -> Iterator[tuple[Key, str, Found]]:
    """Yield each value's key, its path and what was found there, in order, containers first.

    Args:
        root: The state.
        look: Tells what a value is.
        once: Do not enter a container a second time.
    """
    entered: dict[int, Any] = {}
    stack: list[tuple[Key, str, Any, tuple[Any, ...]]] = [((), "", root, ())]
    while stack:
        key, path, value, above = stack.pop()
        found = look(value)
        if isinstance(found, Group):
            if any(found.owner is owner for owner in above):
                found = Value(Named("contains itself"))
            elif not (once and id(found.owner) in entered):
                above = (*above, found.owner)
                stack += [
                    ((*key, child.step), _joined(path, child.label), child.value, above)
                    for child in reversed(found.children)
                ]
                if once:
                    entered[id(found.owner)] = found.owner  # an id is good while its owner lives
        yield key, path, found


def _joined(path: str, step: str) -> str:
    return f"{path}/{step}" if path else step


# ------------------------------------------------------------------------------- the table


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
    return key if type(key) is str else (type(key).__name__, repr(key))


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
