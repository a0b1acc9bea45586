"""What is stored of a constructor's arguments where msgpack cannot hold all of them."""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any

from tune_ckpt.formats import msgpack
from tune_ckpt.objects.classes import Arguments, name_of_class, signature_of

_log = logging.getLogger(__name__)


def storable(cls: type, arguments: Any) -> dict[str, Any]:
    """Return what msgpack can hold of a constructor's arguments, and the names of the rest.

    Nobody needs them to restore an object that is there: so they do not stand in the way of saving
    it. Who wants a new object passes them again, as the error says that `from_checkpoint` raises.
    """
    whole = Arguments.of(arguments)
    if not msgpack.check([whole.args, whole.kwargs]):
        return whole.stored()
    named = _named(cls, whole)
    if named is None:
        return whole.stored()  # which will be refused, with its path
    left_out = tuple(name for name, value in named.items() if msgpack.check(value))
    _tell(name_of_class(cls), left_out)
    kept = {name: value for name, value in named.items() if name not in left_out}
    return Arguments((), kept, left_out).stored()


def _named(cls: type, arguments: Arguments) -> dict[str, Any] | None:
    """Return all arguments by name, or None where some have none."""
    signature = signature_of(cls)
    parameters = signature.parameters
    try:
        bound = signature.bind_partial(*arguments.args, **arguments.kwargs).arguments
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
