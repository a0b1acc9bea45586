"""Things that a document names but never brings along: classes, functions, enum members.

They are read back as inert values. Only `Reference.resolve` imports, and only what its caller
lists.
"""

from __future__ import annotations

import importlib
import reprlib
import sys
from collections.abc import Collection
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tune_ckpt.errors import UntrustedReferenceError
from tune_ckpt.formats.extensions import Refused


@dataclass(frozen=True)
class Reference:
    """A class or function by its import name, not imported.

    Attributes:
        name: ``module:qualified.name``.
    """

    name: str

    def __post_init__(self) -> None:
        """Refuse anything but a name."""
        parts = self.name.split(":") if type(self.name) is str else []
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"{reprlib.repr(self.name)} is not of the form module:name")

    def resolve(self, trusted: Collection[Any]) -> Any:
        """Import and return the real thing.

        Args:
            trusted: What may be imported: names (``module:qualified.name``), or the classes and
                functions themselves.

        Raises:
            UntrustedReferenceError: The name is not among them, or leads to nothing.
        """
        for candidate in trusted:
            if candidate == self.name:
                return self._import()
            if not isinstance(candidate, str) and _dotted(candidate) == self.name:
                return candidate
        advice = f"pass resolve(trusted=[{self.name!r}])"
        raise UntrustedReferenceError(self.name, f"nobody trusted it; {advice}")

    def _import(self) -> Any:
        module, _, qualname = self.name.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in qualname.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as error:
            raise UntrustedReferenceError(self.name, str(error)) from error
        return found


@dataclass(frozen=True)
class EnumValue:
    """An enum member whose class is not loaded in this process, or no longer has that member."""

    cls: Reference
    name: str | None
    value: Any

    def __hash__(self) -> int:
        """Hash by name, as enum members do: the value may be anything."""
        return hash((self.cls, self.name))


@dataclass(frozen=True)
class NamedTupleValue:
    """A namedtuple whose class is not loaded in this process, or has other fields now."""

    cls: Reference
    fields: tuple[str, ...]
    values: tuple[Any, ...]


def _dotted(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', None)}"


def name_of(value: Any) -> str:
    """Return a class's or function's import name.

    Raises:
        Refused: It cannot be imported by that name.
    """
    name = _dotted(value)
    if name.count(":") == 1 and _lookup(name) is value:
        return name
    kind = "class" if isinstance(value, type) else "function"
    raise Refused(f"{kind} {name.replace(':', '.')} cannot be imported by its name")


def loaded_class(name: str) -> type | None:
    """Return the class of that name if its module is loaded already; never imports anything."""
    found = _lookup(name)
    return found if isinstance(found, type) else None


def _lookup(name: str) -> Any:
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = _namespace(found).get(part)
    return found


def _namespace(owner: Any) -> Any:
    # Read past every hook: a module's __getattr__ or a class's descriptors could run code.
    kind = type(owner)
    if issubclass(kind, ModuleType):
        return object.__getattribute__(owner, "__dict__")
    return type.__getattribute__(owner, "__dict__") if issubclass(kind, type) else {}
