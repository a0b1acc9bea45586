"""Paths in a state, like ``optimizer/state/0``: how they are written, and the part at one."""

from __future__ import annotations

import reprlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tune_ckpt.errors import PartNotFoundError


def label(step: Any) -> str:
    """Return what to call a dict's key or a list's index in a path."""
    try:
        return step if type(step) is str else reprlib.repr(step)
    except ValueError:  # an int of too many digits
        return type(step).__name__


def path_of(steps: Iterable[Any]) -> str:
    """Return the path of these steps, without those that are None."""
    return "/".join(label(step) for step in steps if step is not None)


def _plain_contents(value: Any) -> Any:
    """Return the items that a real value has inside, or None if it is not a container."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return value if isinstance(value, Mapping | list | tuple | deque) else None


def find_part(
    state: Any, at: str, file: str, contents: Callable[[Any], Any] = _plain_contents
) -> Any:
    """Return one part of a state.

    Args:
        state: The state.
        at: The part's path through dicts' keys, lists' indices and named tuples' fields:
            ``optimizer/state/0``; the empty one is the state itself.
        file: The state's file, for the error.
        contents: Returns the dict or sequence that a value has inside, or None.

    Raises:
        PartNotFoundError: There is no such part; it lists what there is.
    """
    found, value = "", state
    while at:
        inside = contents(value)
        items = inside if isinstance(inside, Mapping) else dict(enumerate(inside or ()))
        fitting = [key for key in items if f"{at}/".startswith(f"{label(key)}/")]
        if not fitting:
            raise PartNotFoundError(file, at, found, tuple(map(label, items)))
        key = max(fitting, key=lambda key: len(label(key)))  # a key may have a "/" in it
        found, value = f"{found}/{label(key)}".lstrip("/"), items[key]
        at = at[len(label(key)) + 1 :]
    return value
