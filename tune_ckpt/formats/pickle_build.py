"""From the records of a parsed pickle to values; what the tables do not know stays inert.

A record is refused, or becomes an `Opaque`, unless a table has a row for it. So what may be built
is what the tables say, whatever the pickle says.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import (
    CorruptDataError,
    MissingDependencyError,
    PickleReadError,
    TuneCkptError,
    UntrustedPickleError,
)
from tune_ckpt.formats.dtypes import newer
from tune_ckpt.formats.pickle_nodes import ClassNode, Node, canonical
from tune_ckpt.formats.pickle_opaque import Opaque, holds_opaque

Make = Callable[[Any], object]  # gets a Node or a ClassNode


@dataclass(frozen=True)
class Late:
    """A value of a table that lives in an optional package, imported when it is met."""

    module: str
    name: str


class UnknownVariantError(Exception):
    """A row meets a variant of its type that it cannot make; `Builder` catches it."""


@dataclass(frozen=True)
class Tables:
    """What a `Builder` knows, by ``module:name``.

    Attributes:
        values: Globals that stand for themselves.
        calls: What calling (or allocating) a global makes. A function here gets the node, whose
            arguments and state are made already; items and pairs are added to what it returns.
        allowed: Classes that are instantiated as the full unpickler would.
    """

    values: Mapping[str, object]
    calls: Mapping[str, Make]
    allowed: Mapping[str, type] = field(default_factory=dict)

    def know(self, name: str) -> bool:
        """Say whether one of the tables has the name, which a pickle spells ``module:name``."""
        key = canonical(*name.split(":", 1))
        return key in self.values or key in self.calls or key in self.allowed


_LEAVES = frozenset({type(None), bool, int, float, str, bytes, bytearray})


class Builder:
    """Walks what was parsed and makes values of it, shared and cyclic ones included.

    Args:
        tables: What is made.
        file: What to call the pickle in messages.
        strict: Refuse what the tables do not know, instead of leaving it an `Opaque`.
    """

    def __init__(self, tables: Tables, file: str, *, strict: bool) -> None:
        self._tables, self._file, self._strict = tables, file, strict
        # The old objects are kept too, since an id is only good while its object lives.
        self._done: dict[int, tuple[Any, Any]] = {}

    def build(self, root: object) -> object:
        """Return the value; containers are changed in place.

        Raises:
            UntrustedPickleError: Something unknown, if strict.
            CorruptDataError: A known type's record does not make sense.
            PickleReadError: An allowed class failed, or the nesting is too deep.
            MissingDependencyError: A value needs a package that is not installed, if strict.
        """
        try:
            return self._value(root)
        except TuneCkptError:
            raise
        except RecursionError as error:
            raise PickleReadError(self._file, "it is nested too deeply") from error
        except Exception as error:  # a row was given what its type never writes
            reason = f"it holds a malformed object ({type(error).__name__}: {error})"
            raise CorruptDataError(self._file, reason) from error

    def _value(self, value: Any) -> Any:
        kind = type(value)
        if kind in _LEAVES:
            return value
        known = self._done.get(id(value))
        if known is not None:
            return known[1]
        step: Callable[[Builder, Any], Any] = _STEPS.get(kind, Builder._node)
        return step(self, value)

    def _keep(self, old: Any, new: Any) -> Any:
        self._done[id(old)] = (old, new)
        self._done[id(new)] = (new, new)  # what is made already may be met again in a record
        return new

    def _list(self, value: list[Any]) -> list[Any]:
        self._keep(value, value)
        value[:] = [x if type(x) in _LEAVES else self._value(x) for x in value]
        return value

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        self._keep(value, value)
        pairs = [(self._value(key), self._value(item)) for key, item in value.items()]
        value.clear()
        value.update(pairs)
        return value

    def _set(self, value: set[Any]) -> set[Any]:
        self._keep(value, value)
        items = [self._value(item) for item in value]
        value.clear()
        value.update(items)
        return value

    def _fixed(self, value: Any) -> Any:
        items = [x if type(x) in _LEAVES else self._value(x) for x in value]
        if id(value) in self._done:  # it holds itself, by way of a list
            return self._done[id(value)][1]
        return self._keep(value, type(value)(items))

    def _global(self, cls: type[Node] | ClassNode) -> Any:
        value = self._tables.allowed.get(cls.key, self._tables.values.get(cls.key))
        if isinstance(value, Late):
            value = self._import(value)
        return self._opaque(cls) if value is None else self._keep(cls, value)

    def _import(self, late: Late) -> Any:
        purpose = f"Reading {self._file}"
        try:
            module = importlib.import_module(late.module)
        except ImportError as error:
            if self._strict:
                raise MissingDependencyError(late.module, purpose) from error
            return None
        if self._strict and not hasattr(module, late.name):
            raise MissingDependencyError(newer(module), purpose)
        return getattr(module, late.name, None)

    def _class_node(self, node: ClassNode) -> Any:
        return self._global(node) if node.args is None else self._node(node)

    def _node(self, node: Node | ClassNode) -> Any:
        if node.key in self._tables.allowed:
            return self._instance(node, self._tables.allowed[node.key])
        make = self._tables.calls.get(node.key)
        if make is None:
            return self._opaque(node)
        node.args, node.kwargs = self._value(node.args), self._value(node.kwargs)
        node.state = self._value(node.state)
        try:
            made = make(node)
        except UnknownVariantError:
            return self._opaque(node)
        except Exception:
            if not self._strict and holds_opaque([node.args, node.kwargs, node.state]):
                return self._opaque(node)  # what is made of something unknown is unknown too
            raise
        if node.pairs and not isinstance(made, dict):  # an array would take them for its elements
            raise TypeError(f"a {type(made).__name__} with keys")
        return self._filled(self._keep(node, made), node)

    def _filled(self, made: Any, node: Node | ClassNode) -> Any:
        if node.items:
            made.extend(self._list(node.items))
        for key, value in node.pairs:
            made[self._value(key)] = self._value(value)
        return made

    def _opaque(self, node: Node | ClassNode | type[Node]) -> Any:
        if self._strict:
            raise UntrustedPickleError(self._file, (f"{node.module}:{node.name}",))
        opaque = self._keep(node, Opaque(node.module, node.name))
        if isinstance(node, Node) or (isinstance(node, ClassNode) and node.args is not None):
            opaque.args, opaque.kwargs = self._value(node.args), self._value(node.kwargs)
            opaque.state = self._value(node.state)
            opaque.items, opaque.pairs = self._value(node.items), self._value(node.pairs)
        return opaque

    def _instance(self, node: Node | ClassNode, cls: type) -> Any:
        make: Callable[..., Any] = cls if node.called else functools.partial(cls.__new__, cls)
        args, kwargs = self._value(node.args), self._value(node.kwargs)
        try:
            made = self._filled(self._keep(node, make(*args, **kwargs)), node)
            _set_state(made, self._value(node.state))
        except (TuneCkptError, RecursionError):
            raise
        except Exception as error:  # code of the allowed class
            reason = f"{node.module}:{node.name} failed ({type(error).__name__}: {error})"
            raise PickleReadError(self._file, reason) from error
        return made


_STEPS: dict[type, Callable[[Builder, Any], Any]] = {
    list: Builder._list,
    dict: Builder._dict,
    set: Builder._set,
    tuple: Builder._fixed,
    frozenset: Builder._fixed,
    type: Builder._global,
    ClassNode: Builder._class_node,
}


def _set_state(value: Any, state: Any) -> None:
    # As the unpickler's BUILD does.
    if state is None:
        return
    if hasattr(value, "__setstate__"):
        value.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        vars(value).update(attributes)
    for name, item in (slots or {}).items():
        setattr(value, name, item)
