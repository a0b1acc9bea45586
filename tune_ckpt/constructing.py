"""The arguments of constructors: how they are stored, and an object made of them again."""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any

from tune_ckpt.classes import Arguments, family, find_class, name_of_class, read_ctor
from tune_ckpt.errors import ConstructorError
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.pickle_harmless import VALUES
from tune_ckpt.tree.reading import OpenComponent, ReadOptions
from tune_ckpt.trust import Trust, check_resolved

_log = logging.getLogger(__name__)


def storable(cls: type, arguments: Any) -> dict[str, Any]:
    """Return what msgpack can hold of a constructor's arguments, and the names of the rest.

    Nobody needs them to restore an object that is there: so they do not stand in the way of saving
    it. Who wants a new object passes them again, as `constructed` says.
    """
    whole = Arguments.of(arguments)
    if not msgpack.check([whole.args, whole.kwargs]):
        return whole.stored()
    named = _named(cls, whole)
    if named is None:
        return whole.stored()  # which will be refused, with its path
    left_out = tuple(name for name, value in named.items() if msgpack.check(value))
    _tell(f"{cls.__module__}.{cls.__qualname__}", left_out)
    kept = {name: value for name, value in named.items() if name not in left_out}
    return Arguments((), kept, left_out).stored()


def _named(cls: type, arguments: Arguments) -> dict[str, Any] | None:
    """Return all arguments by name, or None where some have none."""
    parameters = inspect.signature(cls).parameters
    try:
        bound = inspect.signature(cls).bind_partial(*arguments.args, **arguments.kwargs).arguments
    except TypeError:
        return None
    if any(parameters[name].kind in _NAMELESS for name in bound):
        return None
    for name in [name for name in bound if parameters[name].kind is _MORE]:
        bound.update(bound.pop(name))
    return bound


_MORE = inspect.Parameter.VAR_KEYWORD
_NAMELESS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


@functools.cache
def _tell(cls: str, left_out: tuple[str, ...]) -> None:
    _log.warning(
        "msgpack cannot hold these constructor arguments of %s, which are left out: %s. "
        "from_checkpoint() will ask for them.",
        cls,
        ", ".join(left_out),
    )


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
    stored = read_ctor(opened, options, trust)
    signature = inspect.signature(found)
    names = {*signature.parameters, *stored.kwargs, *stored.left_out}
    mine = {name: value for name, value in given.items() if name in names}
    lacking = ", ".join(name for name in stored.left_out if name not in mine)
    if lacking:
        reason = f"msgpack could not hold these arguments, which were left out: {lacking}"
        raise ConstructorError(path, name_of_class(found), reason)
    try:
        bound = signature.bind_partial(*stored.args, **stored.kwargs)
        _replace(bound, mine)
        known = {**VALUES, **{name_of_class(kind): kind for kind in family(cls)}}
        _resolve(bound, mine, trust, path, known)
        signature.bind(*bound.args, **bound.kwargs)
    except TypeError as error:
        raise ConstructorError(path, name_of_class(found), str(error)) from error
    rest = {name: value for name, value in given.items() if name not in mine}
    return found(*bound.args, **bound.kwargs), rest


def _replace(bound: inspect.BoundArguments, given: dict[str, Any]) -> None:
    parameters = bound.signature.parameters
    bound.arguments.update({name: value for name, value in given.items() if name in parameters})
    more = {name: value for name, value in given.items() if name not in parameters}
    for name in [name for name in parameters if more and parameters[name].kind is _MORE]:
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
