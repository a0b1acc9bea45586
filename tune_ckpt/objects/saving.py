"""User objects to component trees that can be written."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import UnsupportedComponentError
from tune_ckpt.formats import pickle
from tune_ckpt.objects.actors import ActorGroup, actors_of
from tune_ckpt.objects.arguments import storable
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.components import check_no_circle, components_of, descend, is_checkpointable
from tune_ckpt.objects.object_states import own_state, states_of, without
from tune_ckpt.objects.own_ways import ByItself, overridden, overrides_ours
from tune_ckpt.objects.selftests import run_selftest
from tune_ckpt.tree.layout import FORMATS, FileNames, Format
from tune_ckpt.tree.packing import Component, Node, PackedComponent, pack_tree
from tune_ckpt.tree.sending import sendable

_log = logging.getLogger(__name__)


def component_of(value: Any, state: Any = None) -> Node:
    """Return an object's tree, ready to be written.

    Args:
        value: A `Checkpointable` (ours or RLlib's), what an adapter is registered for, or Ray
            actors that hold such objects.
        state: Its state, where the caller has it already. Subcomponents that it lacks are left out.

    Raises:
        UnsupportedComponentError: The object is of no such kind, or contains itself.
        InvalidNameError: Two of its components have the same name.
    """
    return _component(value, state, (), given=state is not None)


def _component(value: Any, state: Any, above: tuple[Any, ...], *, given: bool) -> Node:
    check_no_circle(value, above)
    actors = actors_of(value)
    if actors is not None:
        return _InActors(actors, state)
    if is_checkpointable(value):
        component = _checkpointable_component(value, state, above, given=given)
    else:
        own = own_state(value) if state is None else state
        component = Component(name_of_class(type(value)), own)
    if not given:  # a given state need not be the one that the object computes with
        component.selftest = run_selftest(value)
    return component


def _checkpointable_component(
    value: Any, state: Any, above: tuple[Any, ...], *, given: bool
) -> Component:
    children = components_of(value)
    own, parts = states_of(value, children) if state is None else without(state, children)
    return Component(
        name_of_class(type(value)),
        own,
        lambda format: _ctor(value, format),
        {
            name: _named(
                name, child, part := parts.get(name), (*above, value), given and part is not None
            )
            for name, child in children.items()
            if not given or name in parts
        },
        value.get_metadata(),
        FileNames(
            value.METADATA_FILE_NAME, value.CLASS_AND_CTOR_ARGS_FILE_NAME, value.STATE_FILE_NAME
        ),
    )


def _named(name: str, value: Any, state: Any, above: tuple[Any, ...], given: bool) -> Node:
    try:
        return subcomponent_of(value, state, above, given=given)
    except UnsupportedComponentError as error:
        error.component = f"{name}/{error.component}" if error.component else name
        raise


def subcomponent_of(
    value: Any, state: Any = None, above: tuple[Any, ...] = (), *, given: bool = False
) -> Node:
    """Return the tree of an object below another one; by its own ``save_to_path``, if it has one.

    Args:
        value: As for `component_of`.
        state: As far as the other one told it.
        above: The objects above it.
        given: Whether the state is the caller's, and subcomponents that it lacks are left out.
    """
    if not overrides_ours(value, "save_to_path"):
        _tell_overrides(type(value))
        return _component(value, state, above, given=given)

    def build(state: Any) -> Any:
        """Return the component of a state."""
        return _component(value, state, above, given=given)

    return ByItself(value, state, build)


def _tell_overrides(cls: type) -> None:
    if is_checkpointable(cls) and "save_to_path" in overridden(cls):
        _tell(name_of_class(cls))


@functools.cache
def _tell(cls: str) -> None:
    _log.warning(
        "%s has its own save_to_path over RLlib's, which is not called for a subcomponent of ours: "
        "what it does belongs in get_state().",
        cls,
    )


def _ctor(value: Any, format: Format) -> dict[str, Any]:
    name, arguments = name_of_class(type(value)), value.get_ctor_args_and_kwargs()
    # In an actor, Ray's subclass of the same name has no module: it would be pickled with its code.
    *_, cls = (kind for kind in type(value).__mro__ if name_of_class(kind) == name)
    if FORMATS[format].holds_classes:
        return {"class": cls, "ctor_args_and_kwargs": arguments}
    return {"class": name, **storable(cls, arguments)}


# ------------------------------------------------------------------------------------ in actors


@dataclass(frozen=True)
class _InActors:
    actors: ActorGroup
    state: Any

    def pack(self, format: Format) -> PackedComponent:
        """Return the tree as the first actor that is alive packs it."""
        given = None if self.state is None else pickle.dumps(self.state)
        packed: PackedComponent = self.actors.first(_pack_there, format, given)
        return packed


def _pack_there(value: Any, part: str, format: Format, given: bytes | None) -> PackedComponent:
    state = None if given is None else pickle.loads(given, file="the given state")
    return sendable(pack_tree(component_of(descend(value, part), state), format))
