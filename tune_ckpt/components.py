"""User objects to component trees, and their states back, whoever wrote their classes.

An object is a component if it has RLlib's ``Checkpointable`` methods, ours or RLlib's own, or if an
adapter knows its type.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Any

from tune_ckpt.actors import ActorGroup, actors_of
from tune_ckpt.adapters.registry import Fit, Stored, adapter_of
from tune_ckpt.arguments import storable
from tune_ckpt.classes import name_of_class
from tune_ckpt.errors import (
    ComponentNotFoundError,
    InvalidNameError,
    RestoreError,
    RestoreReport,
    UnsupportedComponentError,
)
from tune_ckpt.formats import pickle
from tune_ckpt.selftests import run_selftest
from tune_ckpt.tree.layout import FileNames, Format
from tune_ckpt.tree.packing import Component, Node, PackedComponent, pack_tree
from tune_ckpt.tree.sending import sendable
from tune_ckpt.trust import Trust

StateDict = dict[str, Any]
_log = logging.getLogger(__name__)


def is_component(value: Any) -> bool:
    """Say whether an object can be a component; a class is none, whatever its objects are."""
    if isinstance(value, type):
        return False
    known = hasattr(value, "get_checkpointable_components") or adapter_of(value) is not None
    return known or actors_of(value) is not None


# -------------------------------------------------------------------------------- object -> tree


def component_of(value: Any, state: Any = None) -> Node:
    """Return an object's tree, ready to be written.

    Args:
        value: A `Checkpointable` (ours or RLlib's), what an adapter is registered for, or Ray
            actors that hold such objects.
        state: Its state, where the caller has it already. Subcomponents that it lacks are left out.

    Raises:
        UnsupportedComponentError: The object is of no such kind.
        InvalidNameError: Two of its components have the same name.
    """
    return _component(value, state, given=state is not None)


def _component(value: Any, state: Any, *, given: bool) -> Node:
    actors = actors_of(value)
    if actors is not None:
        return _InActors(actors, state)
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
    components: dict[str, Node] = {}
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
    name, arguments = name_of_class(type(value)), value.get_ctor_args_and_kwargs()
    # In an actor, Ray's subclass of the same name has no module: it would be pickled with its code.
    *_, cls = (kind for kind in type(value).__mro__ if name_of_class(kind) == name)
    if format == "msgpack":
        return {"class": name, **storable(cls, arguments)}
    return {"class": cls, "ctor_args_and_kwargs": arguments}


# -------------------------------------------------------------------------------- state -> object


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


def own_state(value: Any) -> Any:
    """Return an object's state without its subcomponents'."""
    actors = actors_of(value)
    if actors is not None:
        return pickle.loads(actors.first(_own_state_there), file="an actor's state")
    if hasattr(value, "get_checkpointable_components"):
        names = components_of(value)
        return {key: part for key, part in _whole_state(value).items() if key not in names}
    adapter = adapter_of(value)
    return None if adapter is None else adapter.get_state(value)


def fit_of(value: Any, stored: Stored) -> Fit:
    """Compare an object with what a checkpoint has for it; the object is not touched.

    Objects in actors are compared there, when they get their state.
    """
    if actors_of(value) is not None:
        return Fit((stored.cls, stored.state, stored.path))
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
        RestoreError: It does not fit the objects in some actors.
    """
    actors = actors_of(value)
    if actors is not None:
        actors.each(_set_state_there, pickle.dumps(state))
        return
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


def is_same(first: Any, second: Any) -> bool:
    """Say whether two components are one and the same object, or in the same actors."""
    return first is second or (isinstance(first, ActorGroup) and first == second)


# ------------------------------------------------------------------------------------ in actors
#
# What ends in "_there" runs in the actors. States go there and come back as bytes: the arrays that
# Ray itself brings are read-only.


@dataclass(frozen=True)
class _InActors:
    actors: ActorGroup
    state: Any

    def pack(self, format: Format) -> PackedComponent:
        given = None if self.state is None else pickle.dumps(self.state)
        packed: PackedComponent = self.actors.first(_pack_there, format, given)
        return packed


def _pack_there(value: Any, part: str, format: Format, given: bytes | None) -> PackedComponent:
    state = None if given is None else pickle.loads(given, file="the given state")
    return sendable(pack_tree(_component_there(_part(value, part), state), format))


def _component_there(value: Any, state: Any) -> Node:
    if is_component(value) or not _has_state(value):
        return component_of(value, state)
    return Component(name_of_class(type(value)), value.get_state() if state is None else state)


def _has_state(value: Any) -> bool:
    return hasattr(value, "get_state") and hasattr(value, "set_state")


def _names_there(value: Any, part: str) -> list[str]:
    return list(components_of(_part(value, part)))


def _own_state_there(value: Any, part: str) -> bytes:
    target = _part(value, part)
    return pickle.dumps(own_state(target) if is_component(target) else target.get_state())


def _set_state_there(value: Any, part: str, data: bytes) -> None:
    loaded: Any = pickle.loads(data, file="the loaded state")
    (cls, state, location), target = loaded, _part(value, part)
    if not is_component(target) and _has_state(target):
        target.set_state(state)
        return
    fit = fit_of(target, Stored(cls, state, location, Trust(allow_pickle=True)))
    if fit.missing or fit.unexpected or fit.mismatched:
        raise RestoreError(RestoreReport(location, (), fit.missing, fit.unexpected, fit.mismatched))
    set_state(target, fit.state)


def _part(value: Any, part: str) -> Any:
    return descend(value, part) if part else value
