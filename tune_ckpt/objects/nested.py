"""Values within values: what is in a container, and the same container with other things in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_PLAIN = (list, tuple, set, frozenset)


def items(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return what is in a container, with its keys or places; nothing where it is none of these."""
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if type(value) in _PLAIN or _is_named_tuple(value) else ()


def rebuilt(value: Any, change: Callable[[Any, Any], Any]) -> Any:
    """Return a container of the same type with changed values; what is none of these as it is.

    Args:
        value: Anything.
        change: Takes a key or place and what stands there; returns what shall stand there.
    """
    if isinstance(value, dict):
        made = copy.copy(value)  # an OrderedDict, and what attributes it has, stays what it is
        for key, part in value.items():
            made[key] = change(key, part)  # a Counter's update() would add
        return made
    if type(value) in _PLAIN or _is_named_tuple(value):
        make = getattr(value, "_make", type(value))
        return make(change(place, part) for place, part in enumerate(value))
    return value


def leaves(value: Any) -> Iterator[Any]:
    """Yield what is in a value and its containers, each once, but for the containers."""
    seen, waiting = set[int](), [value]
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            seen.add(id(part))
            inside = [one for _, one in items(part)]
            waiting += inside
            if not inside:
                yield part


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value with its leaves changed, in containers of the same types.

    What stands in several places is changed once, and containers that contain themselves, which
    only pickles bring, do so again.
    """
    done: dict[int, Any] = {}

    def visit(part: Any) -> Any:
        """Return what takes the part's place."""
        if id(part) in done:
            return done[id(part)]
        made: Any
        if isinstance(part, dict):
            made = done[id(part)] = copy.copy(part)
            for key, item in part.items():
                made[key] = visit(item)
        elif type(part) is list:
            made = done[id(part)] = []
            made.extend(map(visit, part))
        else:
            is_container = type(part) in _PLAIN or _is_named_tuple(part)
            made = rebuilt(part, lambda _, item: visit(item)) if is_container else change(part)
            done[id(part)] = made
        return made

    return visit(value)


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_make")
