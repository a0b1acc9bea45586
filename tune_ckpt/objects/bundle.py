"""Named objects and plain values as one component, without a class of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.objects.actors import actors_of
from tune_ckpt.objects.adapters.registry import Fit, Stored
from tune_ckpt.objects.components import check_no_circle, is_component
from tune_ckpt.objects.saving import subcomponent_of
from tune_ckpt.tree.packing import DICT, Component


class Bundle:
    """A dict of objects and plain values; dicts in it that hold objects are bundles themselves.

    Args:
        parts: The dict.
        above: Those that it is in.

    Raises:
        InvalidArgumentError: It is no dict.
        UnsupportedComponentError: It holds objects, and contains itself.

    Attributes:
        objects: What is a component of its own.
        values: The rest.
        restored: The checkpoint's values, after a restore.
    """

    has_fixed_components = True

    def __init__(self, parts: Mapping[str, Any], above: tuple[Any, ...] = ()) -> None:
        check_parts(parts)
        check_no_circle(parts, above)
        self.objects = {
            name: Bundle(part, (*above, parts)) if isinstance(part, dict) else part
            for name, part in parts.items()
            if _holds_components(part)
        }
        self.values = {name: part for name, part in parts.items() if name not in self.objects}
        self.restored: dict[str, Any] = {}

    def component(self) -> Component:
        """Return the tree, ready to be written."""
        components = {
            name: part.component() if isinstance(part, Bundle) else subcomponent_of(part)
            for name, part in self.objects.items()
        }
        return Component(DICT, self.values, components=components)

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Return the objects with their names."""
        return list(self.objects.items())

    def get_state(self) -> dict[str, Any]:
        """Return the plain values."""
        return dict(self.values)

    def _fit_state(self, stored: Stored) -> Fit:
        """Compare the names of the values; those that only the checkpoint has are welcome."""
        if not isinstance(stored.state, Mapping):
            return Fit({}, False)
        missing = tuple(name for name in self.values if name not in stored.state)
        return Fit(stored.state, missing=missing)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take the values."""
        self.restored = dict(state)

    def plain(self) -> dict[str, Any]:
        """Return the checkpoint's values, those of bundles within under their names."""
        within = {n: part.plain() for n, part in self.objects.items() if isinstance(part, Bundle)}
        return {**self.restored, **{name: values for name, values in within.items() if values}}


def check_parts(parts: Any) -> None:
    """Refuse what is no dict.

    Raises:
        InvalidArgumentError: It is none.
    """
    if not isinstance(parts, Mapping):
        raise InvalidArgumentError("parts", parts, ("a dict of objects and values by name",))


_PLAIN = {bool, bytes, float, int, np.ndarray, str, type(None)}


def _holds_components(value: Any) -> bool:
    seen, waiting = set[int](), [value]
    while waiting:
        part = waiting.pop()
        if type(part) in _PLAIN or id(part) in seen:  # there may be very many of these, or a cycle
            continue
        seen.add(id(part))
        if isinstance(part, list | tuple):
            if actors_of(part) is not None:
                return True
        elif isinstance(part, dict):
            waiting += part.values()
        elif is_component(part):
            return True
    return False
