"""Objects that are components without being `Checkpointable`: how their state is taken and given.

An adapter is two functions. Anything with ``state_dict`` and ``load_state_dict`` has one already;
`register_adapter` adds others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Adapter:
    """How the state of one kind of object is taken and given."""

    get_state: Callable[[Any], Any]
    set_state: Callable[[Any, Any], object]


_STATE_DICT = Adapter(
    get_state=lambda value: value.state_dict(),
    set_state=lambda value, state: value.load_state_dict(state),
)
_BY_TYPE: dict[type, Adapter] = {}


def register_adapter(
    kind: type[T], get_state: Callable[[T], Any], set_state: Callable[[T, Any], object]
) -> None:
    """Make objects of a type (and its subclasses) usable as components.

    Args:
        kind: The type.
        get_state: Returns an object's state: plain values and arrays.
        set_state: Puts such a state into an object.
    """
    _BY_TYPE[kind] = Adapter(get_state, set_state)


def adapter_of(value: Any) -> Adapter | None:
    """Return the adapter for an object, the most specific one first; None where there is none."""
    for kind in type(value).__mro__:
        if kind in _BY_TYPE:
            return _BY_TYPE[kind]
    has_state_dict = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
    return _STATE_DICT if has_state_dict else None
