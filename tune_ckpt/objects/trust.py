"""What a checkpoint may have imported and called: what the caller listed, and nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from tune_ckpt.errors import ClassNotFoundError, UntrustedPickleError, UntrustedTypesError
from tune_ckpt.formats.references import Reference
from tune_ckpt.objects.nested import items, rebuilt
from tune_ckpt.tree.files import ReadOptions

T = TypeVar("T")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Trust:
    """What the caller of a restore trusts.

    Attributes:
        allow_pickle: Whether everything that a pickle or another library's file names.
        modules: Modules and packages; all that is defined in them or below.
    """

    allow_pickle: bool = False
    modules: tuple[str, ...] = ()

    @classmethod
    def of(cls, allow_pickle: bool, trusted: str | Collection[str]) -> Trust:
        """Return what these arguments of a restore mean."""
        return cls(allow_pickle, (trusted,) if isinstance(trusted, str) else tuple(trusted))

    def covers(self, name: str) -> bool:
        """Say whether a name (``module:name`` or ``module.name``) is in one of the modules."""
        dotted = name.replace(":", ".")
        return any(f"{dotted}.".startswith(f"{one.replace(':', '.')}.") for one in self.modules)

    def read(self, read: Callable[[ReadOptions], T], options: ReadOptions) -> T:
        """Return what ``read`` reads, with the classes of trusted modules that its pickles name.

        Raises:
            UntrustedPickleError: A pickle names something else too.
        """
        try:
            return read(options)
        except UntrustedPickleError as refused:
            known = {f"{kind.__module__}:{kind.__qualname__}" for kind in options.allowed}
            fresh = [name for name in refused.names if self.covers(name) and name not in known]
            things = (imported(name, refused.file) for name in fresh)
            classes = tuple(thing for thing in things if isinstance(thing, type))
            if len(classes) < len(refused.names):
                raise
        return self.read(read, replace(options, allowed=(*options.allowed, *classes)))

    def resolved(self, value: Any, path: str, known: Mapping[str, Any] = _NOTHING) -> Any:
        """Return a value with the real things in place of its references, as far as trusted.

        Args:
            value: Dicts, lists, tuples and sets of anything.
            path: Where it is from, for messages.
            known: Things by name that are at hand and do no harm.

        Raises:
            ClassNotFoundError: A trusted module does not have what is named.
        """
        if isinstance(value, Reference):
            if value.name in known:
                return known[value.name]
            return imported(value.name, path) if self.covers(value.name) else value
        return rebuilt(value, lambda _, part: self.resolved(part, path, known))


def check_resolved(value: Any, path: str) -> None:
    """Check that no reference is left in a value.

    Raises:
        UntrustedTypesError: There are some; all are listed.
    """
    names = sorted({reference.name for reference in _references(value)})
    if names:
        raise UntrustedTypesError(path, tuple(names))


def imported(name: str, path: str) -> Any:
    """Import and return what a trusted name stands for.

    Raises:
        ClassNotFoundError: There is nothing of that name.
    """
    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ClassNotFoundError(path, name, str(error)) from error
    return found


def _references(value: Any) -> list[Reference]:
    if isinstance(value, Reference):
        return [value]
    return [found for _, part in items(value) for found in _references(part)]
