"""Objects and the components that they consist of, whoever wrote their classes.

An object is a component if it has RLlib's ``Checkpointable`` methods, ours or RLlib's own, or if an
adapter knows its type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_ckpt.errors import ComponentNotFoundError, InvalidNameError, UnsupportedComponentError
from tune_ckpt.objects.actors import ActorGroup, actors_of
from tune_ckpt.objects.adapters.registry import adapter_of
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.selection import ROOT, join


def is_checkpointable(value: Any) -> bool:
    """Say whether an object has the methods of RLlib's ``Checkpointable``."""
    return hasattr(value, "get_checkpointable_components")


def is_component(value: Any) -> bool:
    """Say whether an object can be a component; a class is none, whatever its objects are."""
    if isinstance(value, type):
        return False
    known = is_checkpointable(value) or adapter_of(value) is not None
    return known or actors_of(value) is not None


def components_of(value: Any) -> dict[str, Any]:
    """Return an object's subcomponents by name.

    Raises:
        InvalidNameError: Two have the same name.
    """
    actors = actors_of(value)
    if actors is not None:
        return dict(actors.names(_names_there))
    components: dict[str, Any] = {}
    for name, child in getattr(value, "get_checkpointable_components", list[Any])():
        if name in components:
            raise InvalidNameError(name, "another component has that name")
        components[name] = child
    return components


def _names_there(value: Any, part: str) -> list[str]:
    return list(components_of(descend(value, part)))


def walk(value: Any, path: str = ROOT, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield an object and all below it with their paths, each after its owner.

    An owner is asked for its subcomponents when the caller has seen it: it may make them then.

    Raises:
        UnsupportedComponentError: One contains itself.
    """
    check_no_circle(value, above)
    yield path, value
    for name, child in components_of(value).items():
        yield from walk(child, join(path, name), (*above, value))


def check_no_circle(value: Any, above: tuple[Any, ...]) -> None:
    """Check that a component is none of those above it.

    Raises:
        UnsupportedComponentError: It is.
    """
    if any(is_same(value, one) for one in above):
        raise UnsupportedComponentError(name_of_class(type(value)), "one contains itself")


def may_grow(value: Any) -> bool:
    """Say whether an object may get other components together with a state."""
    if actors_of(value) is not None:
        return True  # whatever they hold may
    return is_checkpointable(value) and not getattr(value, "has_fixed_components", False)


def descend(value: Any, component: str | None) -> Any:
    """Return an object's subcomponent by name, ``/`` between levels; without one, the object.

    Raises:
        ComponentNotFoundError: There is none; those there are, are listed.
    """
    for name in component.split("/") if component else ():
        components = components_of(value)
        if name not in components:
            where = f"The {type(value).__qualname__}"
            raise ComponentNotFoundError(where, name, tuple(components))
        value = components[name]
    return value


def is_same(first: Any, second: Any) -> bool:
    """Say whether two components are one and the same object, or in the same actors."""
    return first is second or (isinstance(first, ActorGroup) and first == second)
