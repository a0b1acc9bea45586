"""User objects to component trees, and their states back, whoever wrote their classes.

An object is a component if it has RLlib's ``Checkpointable`` methods, ours or RLlib's own, or if an
adapter knows its type.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from tune_ckpt.adapters.registry import Fit, Stored, adapter_of
from tune_ckpt.arguments import storable
from tune_ckpt.classes import name_of_class
from tune_ckpt.errors import ComponentNotFoundError, InvalidNameError, UnsupportedComponentError
from tune_ckpt.selftests import run_selftest
from tune_ckpt.tree.layout import FileNames, Format
from tune_ckpt.tree.packing import Component

StateDict = dict[str, Any]
_log = logging.getLogger(__name__)


def is_component(value: Any) -> bool:
    """Say whether an object can be a component; a class is none, whatever its objects are."""
    if isinstance(value, type):
        return False
    return hasattr(value, "get_checkpointable_components") or adapter_of(value) is not None


# -------------------------------------------------------------------------------- object -> tree


def component_of(value: Any, state: Any = None) -> Component:
    """Return an object's tree, ready to be written.

    Args:
        value: A `Checkpointable` (ours or RLlib's), or what an adapter is registered for.
        state: Its state, where the caller has it already. Subcomponents that it lacks are left out.

    Raises:
        UnsupportedComponentError: The object is of no such kind.
        InvalidNameError: Two of its components have the same name.
    """
    return _component(value, state, given=state is not None)


def _component(value: Any, state: Any, *, given: bool) -> Component:
    if hasattr(value, "get_checkpointable_components"):
        component = _checkpointable_component(value, state, given=given)
    else:
        adapter = adapter_of(value)
        if adapter is None:
            raise UnsupportedComponentError(name_of_class(type(value)))
        own = adapter.get_state(value) if state is None else state
        component = Component(name_of_class(type(value)), own)
    if not given:  # a given state need not be the one that the object computes with
        component.selftest = run_selftest(value)
    return component


def _checkpointable_component(value: Any, state: Any, *, given: bool) -> Component:
    whole = _whole_state(value) if state is None else state
    own = dict(whole)  # a copy: the caller's dict is not ours to change
    components = {}
    for name, child in components_of(value).items():
        if not given or name in whole:
            _tell_overrides(type(child))
            part = own.pop(name, None)
            components[name] = _component(child, part, given=given and part is not None)
    return Component(
        name_of_class(type(value)),
        own,
        lambda format: _ctor(value, format),
        components,
        value.get_metadata(),
        FileNames(
            value.METADATA_FILE_NAME, value.CLASS_AND_CTOR_ARGS_FILE_NAME, value.STATE_FILE_NAME
        ),
    )


_WALKS = {"tune_ckpt.checkpointable", "ray.rllib.utils.checkpoints"}


def _tell_overrides(cls: type) -> None:
    if hasattr(cls, "get_checkpointable_components"):
        methods = [getattr(cls, name, None) for name in ("save_to_path", "restore_from_path")]
        own = [method.__name__ for method in methods if method and method.__module__ not in _WALKS]
        _tell(name_of_class(cls), " and ".join(own))


@functools.cache
def _tell(cls: str, methods: str) -> None:
    if methods:
        _log.warning(
            "%s has its own %s, which is not called for a subcomponent: what it does belongs in "
            "get_state() and set_state().",
            cls,
            methods,
        )


def _whole_state(value: Any) -> StateDict:
    state: StateDict = getattr(value, "_whole_state", value.get_state)()
    return state


def _ctor(value: Any, format: Format) -> dict[str, Any]:
    cls, arguments = type(value), value.get_ctor_args_and_kwargs()
    if format == "msgpack":
        return {"class": name_of_class(cls), **storable(cls, arguments)}
    return {"class": cls, "ctor_args_and_kwargs": arguments}


# -------------------------------------------------------------------------------- state -> object


def components_of(value: Any) -> dict[str, Any]:
    """Return an object's subcomponents by name.

    Raises:
        InvalidNameError: Two have the same name.
    """
    components: dict[str, Any] = {}
    for name, child in getattr(value, "get_checkpointable_components", list[Any])():
        if name in components:
            raise InvalidNameError(name, "another component has that name")
        components[name] = child
    return components


def own_state(value: Any) -> Any:
    """Return an object's state without its subcomponents'."""
    if hasattr(value, "get_checkpointable_components"):
        names = components_of(value)
        return {key: part for key, part in _whole_state(value).items() if key not in names}
    adapter = adapter_of(value)
    return None if adapter is None else adapter.get_state(value)


def fit_of(value: Any, stored: Stored) -> Fit:
    """Compare an object with what a checkpoint has for it; the object is not touched."""
    if hasattr(value, "_fit_state"):
        fit: Fit = value._fit_state(stored)
        return fit
    adapter = adapter_of(value)
    if adapter is None or adapter.fit is None:
        return Fit(stored.state)
    if adapter.of_checkpointables != hasattr(value, "get_checkpointable_components"):
        return Fit(stored.state)  # it has its own idea of a state
    return adapter.fit(value, stored)


def set_state(value: Any, state: Any) -> None:
    """Give an object its own state.

    Raises:
        UnsupportedComponentError: Nothing tells how.
    """
    if hasattr(value, "get_checkpointable_components"):
        getattr(value, "_set_own_state", value.set_state)(state)
        return
    adapter = adapter_of(value)
    if adapter is None:
        raise UnsupportedComponentError(name_of_class(type(value)))
    adapter.set_state(value, state)


def descend(value: Any, component: str) -> Any:
    """Return an object's subcomponent by name, ``/`` between levels.

    Raises:
        ComponentNotFoundError: There is none; those there are, are listed.
    """
    for name in component.split("/"):
        components = components_of(value)
        if name not in components:
            where = f"The {type(value).__qualname__}"
            raise ComponentNotFoundError(where, name, tuple(components))
        value = components[name]
    return value
