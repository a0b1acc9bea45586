"""From a checkpoint to a new object of the class that it names."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, TypeVar

from tune_ckpt.errors import ConstructorError, NotInCheckpointError
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.formats.pickle_harmless import VALUES
from tune_ckpt.objects.classes import (
    family_by_name,
    find_class,
    name_of_class,
    read_ctor,
    signature_of,
)
from tune_ckpt.objects.own_ways import FILES, overridden
from tune_ckpt.objects.parts import parts_of
from tune_ckpt.objects.restoring import give_parts
from tune_ckpt.objects.trust import Trust, check_resolved
from tune_ckpt.objects.wishes import Wishes
from tune_ckpt.tree.inspection.foreign_reading import check_still_there, consistently_or_foreign
from tune_ckpt.tree.packing import DICT
from tune_ckpt.tree.reading import OpenComponent
from tune_ckpt.tree.storage.store import open_store, path_and_filesystem

T = TypeVar("T")
_BY_NAME = (
    "it has objects and values by their names; give those to tune_ckpt.restore({...}, path), or get"
    " plain arrays from tune_ckpt.load_state(path)"
)


def restored_object(
    cls: type[T],
    path: Any,
    filesystem: Any,
    *,
    allow_pickle: bool,
    trusted: str | Collection[str],
    kwargs: dict[str, Any],
) -> T:
    """Return the object that a checkpoint was saved from; the arguments are `from_checkpoint`'s.

    The class may also be one of RLlib's, or of a kind that an adapter knows.
    """
    path, filesystem = path_and_filesystem(path, filesystem)
    store = open_store(path, filesystem)
    trust: dict[str, Any] = {"allow_pickle": allow_pickle, "trusted": trusted}

    def construct(opened: OpenComponent) -> Any:
        """Construct the object, and restore it."""
        if opened.metadata.cls == DICT:
            raise NotInCheckpointError(store.location, "object of a class", _BY_NAME)
        value, rest = _constructed(opened, cls, Trust.of(**trust), kwargs)
        apart = FILES in opened.metadata.components  # a part of a tree: its files are not beside it
        if "restore_from_path" in overridden(type(value)) and not apart:
            value.restore_from_path(path, filesystem=filesystem, **trust, **rest)
            check_still_there(store, opened)  # or the arguments would be another checkpoint's
        else:
            wishes = Wishes.of(**trust, **rest)
            give_parts(value, parts_of(opened, value, wishes), wishes, is_new=True)
        return value

    value: T = consistently_or_foreign(store, construct)
    return value


def _constructed(
    opened: OpenComponent, cls: type[Any], trust: Trust, given: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return a new object, not restored yet, and the given arguments that were not for it."""
    family, path = family_by_name(cls), opened.store.location
    options = ReadOptions(trust.allow_pickle, family)
    found = find_class(opened, cls, options, trust)
    stored = read_ctor(opened, options, trust)
    signature = signature_of(found)
    names = {*signature.parameters, *stored.kwargs, *stored.left_out}
    mine = {name: value for name, value in given.items() if name in names}
    lacking = ", ".join(name for name in stored.left_out if name not in mine)
    if lacking:
        reason = f"msgpack could not hold these arguments, which were left out: {lacking}"
        raise ConstructorError(path, name_of_class(found), reason)
    try:
        bound = signature.bind_partial(*stored.args, **stored.kwargs)
        _replace(bound, mine)
        _resolve(bound, mine, trust, path, {**VALUES, **family})
        signature.bind(*bound.args, **bound.kwargs)
    except TypeError as error:
        raise ConstructorError(path, name_of_class(found), str(error)) from error
    rest = {name: value for name, value in given.items() if name not in mine}
    return found(*bound.args, **bound.kwargs), rest


def _replace(bound: inspect.BoundArguments, given: dict[str, Any]) -> None:
    parameters = bound.signature.parameters
    bound.arguments.update({name: value for name, value in given.items() if name in parameters})
    more = {name: value for name, value in given.items() if name not in parameters}
    rest = inspect.Parameter.VAR_KEYWORD
    for name in [name for name, parameter in parameters.items() if parameter.kind is rest]:
        bound.arguments[name] = {**bound.arguments.get(name, {}), **more}


def _resolve(
    bound: inspect.BoundArguments,
    mine: dict[str, Any],
    trust: Trust,
    path: str,
    known: dict[str, Any],
) -> None:
    """Put real classes and functions for the references in arguments that are not the caller's."""
    stored = {name: value for name, value in bound.arguments.items() if name not in mine}
    resolved = trust.resolved(stored, path, known)
    check_resolved(resolved, path)
    bound.arguments.update(resolved)
