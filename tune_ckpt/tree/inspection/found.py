"""What looking at a value of a state finds, and the walk through a whole state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
_LEAVES = frozenset({type(None), bool, int, float, str, bytes})


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
        found = Value(value) if type(value) in _LEAVES else look(value)
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
