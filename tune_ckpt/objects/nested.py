"""Values within values: what is in a container, and the same container with other things in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
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


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_make")
