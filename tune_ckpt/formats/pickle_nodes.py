"""A pickle as a tree of inert records: nothing that it names is imported, called or looked at.

Python's own unpickler does the parsing, but every global that a pickle names comes out as a class
of ours (`Node`) that only records what is done with it, so there is nothing that a pickle could
call. `tune_ckpt.formats.pickle_build` makes values of the records.
"""

from __future__ import annotations

import copyreg
import functools
import pickle
import pickletools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, cast

import numpy as np

from tune_ckpt.errors import CorruptDataError, UntrustedPickleError

PERSISTENT = "pickle:persistent_load"  # how a persistent id is listed


@dataclass(eq=False)
class Opaque:
    """Something that a pickle names and that was left alone, with everything done to it.

    Attributes:
        module: The module that the pickle names.
        name: The (dotted) name in it. The result of calling another result is named after that
            one with ``()`` at the end, and has it as its first argument.
        args: What it was made with; None for the class or function itself, not called.
        kwargs: Likewise, by name.
        state: What its ``__setstate__`` or ``__dict__`` would have received; None without.
        items: What was appended or added to it.
        pairs: The ``(key, value)`` that were set in it.
    """

    module: str
    name: str
    args: tuple[Any, ...] | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def __call__(self, *args: Any, **kwargs: Any) -> Opaque:
        """Record one more call, so that this may stand where a callable is expected."""
        return Opaque(self.module, f"{self.name}()", (self, *args), kwargs)

    def __repr__(self) -> str:
        return f"<opaque {self.module}:{self.name}>"


def holds_opaque(value: object) -> bool:
    """Say whether there is an `Opaque` in nested containers."""
    seen, waiting = set(), [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Opaque):
            return True
        if id(part) not in seen:
            seen.add(id(part))
            waiting += _parts(part)
    return False


def _parts(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return list(value.ravel().tolist())
    return []


class Node:
    """One global of a pickle while it is parsed; each global has a subclass of its own."""

    __slots__ = ("args", "called", "items", "kwargs", "pairs", "state")
    module: ClassVar[str]
    name: ClassVar[str]
    key: ClassVar[str]

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    state: Any
    items: list[Any]
    pairs: list[tuple[Any, Any]]
    called: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Node:
        """Record an allocation."""
        node = object.__new__(cls)
        node.args, node.kwargs = args, kwargs
        node.state, node.items, node.pairs, node.called = None, [], [], False
        return node

    def __init__(self, *_: Any, **__: Any) -> None:
        # Reached when the class is called; the opcodes that only allocate stop at __new__.
        self.called = True

    def __call__(self, *args: Any, **kwargs: Any) -> Node:
        """Record a call of what another call returned."""
        return node_class(self.module, f"{self.name}()")(self, *args, **kwargs)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Record an item."""
        self.items.append(item)

    add = append

    def extend(self, items: Any) -> None:
        """Record several items."""
        self.items.extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs.append((key, value))


_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "pathlib._local": "pathlib"}


def canonical(module: str, name: str) -> str:
    """Return the one ``module:name`` for a global that moved between versions."""
    module = _RENAMED.get(module, module)
    if module.startswith("numpy.core."):
        module = module.replace("numpy.core.", "numpy._core.", 1)
    return f"{module}:{name}"


@functools.lru_cache(maxsize=4096)
def node_class(module: str, name: str) -> type[Node]:
    """Return the class that stands for a global; a pickle cannot change it, so it is shared."""
    body = {"__slots__": (), "module": module, "name": name, "key": canonical(module, name)}
    return cast("type[Node]", type("Node", (Node,), body))


class Parser(pickle.Unpickler):
    """Reads one pickle from a stream into plain containers and nodes.

    Args:
        stream: Where it begins; afterwards the stream stands behind it.
        file: What to call it in messages.
        names: Filled with every global that the pickle names, as ``module:name``, in order.

    Attributes:
        persistent_ids: Every persistent id that it holds, in order.
    """

    def __init__(self, stream: BinaryIO, file: str, names: dict[str, None]) -> None:
        super().__init__(stream)
        self._stream, self._file, self._names = stream, file, names
        self.persistent_ids: list[Any] = []

    def find_class(self, module: str, name: str) -> type[Node]:
        """Hand out a class that records."""
        self._names[f"{module}:{name}"] = None
        return node_class(module, name)

    def persistent_load(self, pid: Any) -> Node:
        """Record a persistent id."""
        self._names[PERSISTENT] = None
        self.persistent_ids.append(pid)
        return node_class("pickle", "persistent_load")(pid)

    def parse(self) -> object:
        """Return what the pickle describes.

        Raises:
            CorruptDataError: The bytes are not a whole pickle.
            UntrustedPickleError: It uses codes of ``copyreg``'s registry of extensions.
        """
        try:
            self._refuse_extensions()
            return self.load()
        except UntrustedPickleError:
            raise
        except Exception as error:  # damaged bytes fail in any way; nothing foreign ran
            reason = f"the pickle cannot be parsed ({type(error).__name__}: {error})"
            raise CorruptDataError(self._file, reason) from error

    def _refuse_extensions(self) -> None:
        # For a code that this process has used before, the unpickler does not ask find_class.
        registry = vars(copyreg)["_inverted_registry"]
        if not registry:
            return
        start = self._stream.tell()
        operations = pickletools.genops(self._stream)
        codes = {arg: None for op, arg, _ in operations if op.name.startswith("EXT")}
        self._stream.seek(start)
        if codes:
            names = (
                ":".join(registry.get(code, ("copyreg", f"extension {code}"))) for code in codes
            )
            raise UntrustedPickleError(self._file, tuple(names))
