"""User objects to component trees and back, whoever wrote their classes.

An object is a component if it has RLlib's ``Checkpointable`` methods, ours or RLlib's own, or if an
adapter knows its type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tune_ckpt.actors import ActorGroup, actors_of
from tune_ckpt.adapters import adapter_of
from tune_ckpt.classes import name_of_class
from tune_ckpt.errors import Fault, RestoreError, UnsupportedComponentError
from tune_ckpt.formats import pickle
from tune_ckpt.tree.files import ReadOptions
from tune_ckpt.tree.layout import FileNames, Format
from tune_ckpt.tree.packing import Component, Node, PackedComponent, pack_tree
from tune_ckpt.tree.reading import OpenComponent
from tune_ckpt.tree.sending import sendable

StateDict = dict[str, Any]


# -------------------------------------------------------------------------------- object -> tree


def component_of(value: Any, state: Any = None) -> Node:
    """Return an object's tree, ready to be written.

    Args:
        value: A `Checkpointable` (ours or RLlib's), what an adapter is registered for, or Ray
            actors that hold such objects.
        state: Its state, where the caller has it already.

    Raises:
        UnsupportedComponentError: The object is of no such kind.
    """
    actors = actors_of(value)
    if actors is not None:
        return _InActors(actors, state)
    if hasattr(value, "get_checkpointable_components"):
        return _checkpointable_component(value, state)
    adapter = adapter_of(value)
    if adapter is None:
        raise UnsupportedComponentError(name_of_class(type(value)))
    state = adapter.get_state(value) if state is None else state
    return Component(name_of_class(type(value)), state)


def _checkpointable_component(value: Any, state: StateDict | None) -> Component:
    whole = getattr(value, "_whole_state", value.get_state)() if state is None else state
    own = dict(whole)  # a copy: the caller's dict is not ours to change
    components = {}
    for name, child in value.get_checkpointable_components():
        if state is None or name in own:
            components[name] = component_of(child, own.pop(name, None))
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


def _ctor(value: Any, format: Format) -> dict[str, Any]:
    name = name_of_class(type(value))
    # In an actor, Ray's subclass of the same name has no module: it would be pickled with its code.
    *_, cls = (kind for kind in type(value).__mro__ if name_of_class(kind) == name)
    stored = name if format == "msgpack" else cls
    return {"class": stored, "ctor_args_and_kwargs": value.get_ctor_args_and_kwargs()}


# -------------------------------------------------------------------------------- tree -> object


@dataclass(frozen=True)
class Loaded:
    """A checkpoint's states, read and verified.

    Attributes:
        path: Where the checkpoint is, for messages.
        state: The component's own state.
        components: The subcomponents'.
    """

    path: str
    state: Any
    components: dict[str, Loaded]

    def give_to(self, value: Any) -> None:
        """Give the states to an object.

        Raises:
            RestoreError: There are components that the object does not have; all are listed.
        """
        unexpected = list(_apply(value, self, ""))
        if unexpected:
            raise RestoreError(self.path, tuple(unexpected))


def load_for(value: Any, opened: OpenComponent, options: ReadOptions) -> Loaded:
    """Read all that an object will be given from a checkpoint; the object is not touched.

    Raises:
        RestoreError: Components are missing; all are listed.
    """
    missing = list(_missing(value, opened, ""))
    if missing:
        raise RestoreError(opened.store.location, tuple(missing))
    return _load(opened, options)


def _components(value: Any) -> dict[str, Any]:
    actors = actors_of(value)
    if actors is not None:
        return dict(actors.names(_names_there))
    return dict(getattr(value, "get_checkpointable_components", list[Any])())


def _missing(value: Any, opened: OpenComponent, path: str) -> Iterator[Fault]:
    for name, child in _components(value).items():
        if name not in opened.metadata.components:
            yield Fault(path + name, "the object has this component, the checkpoint does not")
        else:
            yield from _missing(child, opened.child(name), f"{path}{name}/")


def _load(opened: OpenComponent, options: ReadOptions) -> Loaded:
    children = {name: _load(child, options) for name, child in opened.children()}
    return Loaded(opened.store.location, opened.state(options), children)


def _apply(value: Any, loaded: Loaded, path: str) -> Iterator[Fault]:
    """Give the states to the objects; yield the components for which there was no object."""
    actors = actors_of(value)
    if actors is not None:
        yield from _apply_to_actors(actors, loaded, path)
        return
    before = _components(value)
    for name, child in before.items():
        yield from _apply(child, loaded.components[name], f"{path}{name}/")
    _set_state(value, loaded.state)
    # Some components only appear when their owner has its state.
    after = _components(value)
    for name, part in loaded.components.items():
        if name not in after:
            yield Fault(path + name, "the checkpoint has this component, the object does not")
        elif name not in before:
            yield from _apply(after[name], part, f"{path}{name}/")


def _set_state(value: Any, state: Any) -> None:
    adapter = adapter_of(value)
    if hasattr(value, "set_state"):
        getattr(value, "_set_own_state", value.set_state)(state)
    elif adapter is not None:
        adapter.set_state(value, state)
    else:
        raise UnsupportedComponentError(name_of_class(type(value)))


def descend(value: Any, component: str) -> Any:
    """Return an object's subcomponent by name, ``/`` between levels.

    Raises:
        RestoreError: There is none; those there are, are listed.
    """
    for name in component.split("/"):
        components = _components(value)
        if name not in components:
            known = ", ".join(components) or "none"
            raise RestoreError(component, (Fault(name, f"no such component; there are: {known}"),))
        value = components[name]
    return value


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
    known = hasattr(value, "get_checkpointable_components") or adapter_of(value) is not None
    if known or not (hasattr(value, "get_state") and hasattr(value, "set_state")):
        return component_of(value, state)
    return Component(name_of_class(type(value)), value.get_state() if state is None else state)


def _names_there(value: Any, part: str) -> list[str]:
    return list(_components(_part(value, part)))


def _apply_to_actors(actors: ActorGroup, loaded: Loaded, path: str) -> Iterator[Fault]:
    faults = chain.from_iterable(actors.each(_apply_there, pickle.dumps(loaded), path))
    yield from dict.fromkeys(faults)  # one is like the other


def _apply_there(value: Any, part: str, loaded: bytes, path: str) -> list[Fault]:
    states: Any = pickle.loads(loaded, file="the loaded states")
    return list(_apply(_part(value, part), states, path))


def _part(value: Any, part: str) -> Any:
    return descend(value, part) if part else value
