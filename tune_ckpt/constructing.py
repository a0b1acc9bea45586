"""From a checkpoint to a new object of the class that it names, not restored yet."""

from __future__ import annotations

import inspect
from typing import Any

from tune_ckpt.classes import family, find_class, name_of_class, read_ctor
from tune_ckpt.errors import ConstructorError
from tune_ckpt.formats.pickle_harmless import VALUES
from tune_ckpt.tree.reading import OpenComponent, ReadOptions
from tune_ckpt.trust import Trust, check_resolved


def constructed(
    opened: OpenComponent,
    cls: type[Any],
    options: ReadOptions,
    trust: Trust,
    given: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """Return a new object, and what of the given arguments its constructor does not take.

    Args:
        opened: The checkpoint.
        cls: The class, or one above it, that the caller expects.
        options: How files are read.
        trust: What may be imported.
        given: Arguments that replace the stored ones.

    Raises:
        ClassNotFoundError: The stored class is another one.
        ConstructorError: It cannot be called with these arguments.
        UntrustedTypesError: They hold classes or functions of modules that nobody trusted.
    """
    path = opened.store.location
    found = find_class(opened, cls, options, trust)
    args, kwargs = read_ctor(opened, options, trust)
    signature = inspect.signature(found)
    mine = {name: value for name, value in given.items() if name in signature.parameters}
    try:
        bound = signature.bind_partial(*args, **kwargs)
        bound.arguments.update(mine)
        known = {**VALUES, **{name_of_class(kind): kind for kind in family(cls)}}
        _resolve(bound, mine, trust, path, known)
        signature.bind(*bound.args, **bound.kwargs)
    except TypeError as error:
        raise ConstructorError(path, name_of_class(found), str(error)) from error
    rest = {name: value for name, value in given.items() if name not in mine}
    return found(*bound.args, **bound.kwargs), rest


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
