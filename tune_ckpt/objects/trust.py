"""What a checkpoint may have imported and called: what the caller listed, and nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

from tune_ckpt.errors import ClassNotFoundError, UntrustedPickleError, UntrustedTypesError
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.formats.references import Reference
from tune_ckpt.objects.nested import leaves, replaced
from tune_ckpt.objects.renaming import current_name

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
            UntrustedTypesError: A trusted module has one from elsewhere under that name.
            ClassNotFoundError: A trusted module does not have what is named.
        """
        try:
            return read(options)
        except UntrustedPickleError as refused:
            fresh = [name for name in refused.names if name not in options.allowed]
            found = {n: self._real(n, options.allowed, refused.file, None) for n in fresh}
            classes = {name: thing for name, thing in found.items() if isinstance(thing, type)}
            if len(classes) < len(refused.names):
                raise
        return self.read(read, replace(options, allowed={**options.allowed, **classes}))

    def resolved(self, value: Any, path: str, known: Mapping[str, Any] = _NOTHING) -> Any:
        """Return a value with the real things in place of its references, as far as trusted.

        Args:
            value: Dicts, lists, tuples and sets of anything.
            path: Where it is from, for messages.
            known: Harmless things that are imported already, by name.

        Raises:
            UntrustedTypesError: A trusted module has something from elsewhere under that name.
            ClassNotFoundError: A trusted module does not have what is named.
        """

        def real(leaf: Any) -> Any:
            """Return what a reference stands for, and all else as it is."""
            is_name = isinstance(leaf, Reference)
            return self._real(leaf.name, known, path, leaf) if is_name else leaf

        return replaced(value, real)

    def _real(self, name: str, known: Mapping[str, Any], path: str, otherwise: Any) -> Any:
        """Return what a name in a checkpoint stands for, as far as known or trusted."""
        name = current_name(name)
        if name in known:
            return known[name]
        if not self.covers(name):
            return otherwise
        found = imported(name, path)
        home, own = (getattr(found, key, None) for key in ("__module__", "__qualname__"))
        if home and own and not self.covers(f"{home}:{own}"):  # the module has only imported it
            raise UntrustedTypesError(path, (f"{home}:{own}",))
        return found


def check_resolved(value: Any, path: str) -> None:
    """Check that no reference is left in a value.

    Raises:
        UntrustedTypesError: There are some; all are listed.
    """
    names = sorted({leaf.name for leaf in leaves(value) if isinstance(leaf, Reference)})
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
            if isinstance(found, ModuleType):
                raise AttributeError(f"it leads into another module, {found.__name__}")
    except (ImportError, AttributeError, ValueError) as error:
        raise ClassNotFoundError(path, name, str(error)) from error
    return found
