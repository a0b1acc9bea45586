"""A pickle as a tree of inert records: nothing that it names is imported, called or looked at.

Python's own unpickler does the parsing, but every global that a pickle names comes out as a class
of ours (`Node`) that only records what is done with it, so there is nothing that a pickle could
call. `tune_ckpt.formats.pickle_build` makes values of the records.
"""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, cast

from tune_ckpt.errors import CorruptDataError, UntrustedPickleError
from tune_ckpt.formats.pickle_scan import scan

PERSISTENT = "pickle:persistent_load"  # how a persistent id is listed


class _Recording:
    """What a pickle may do with an object, recorded."""

    args: Any  # a tuple; None in a ClassNode that stands for a global
    kwargs: dict[str, Any]
    state: Any
    items: list[Any]
    pairs: list[tuple[Any, Any]]
    called: bool

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


class Node(_Recording):
    """What a pickle makes of a global; for each global there is a subclass, which stands for it."""

    __slots__ = ("args", "called", "items", "kwargs", "pairs", "state")
    module: ClassVar[str]
    name: ClassVar[str]
    key: ClassVar[str]

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


class ClassNode(_Recording, type):
    """A node that is a type itself, since some pickles make a class and then instances of it.

    It stands for a global (``args`` is None) as well as for what is made of one. Nodes of this
    kind are slow to make, so they are used for pickles that need them.
    """

    module: str
    name: str
    key: str

    def __call__(cls, *args: Any, **kwargs: Any) -> ClassNode:
        """Record a call."""
        made = _allocated(cls, *args, **kwargs)
        made.called = True
        return made


def _allocated(cls: ClassNode, *args: Any, **kwargs: Any) -> ClassNode:
    # A call of a global keeps its name; one of what another call returned has that as argument.
    if cls.args is None:
        return _class_node(cls.module, cls.name, args, kwargs)
    return _class_node(cls.module, f"{cls.name}()", (cls, *args), kwargs)


def _class_node(
    module: str, name: str, args: tuple[Any, ...] | None = None, kwargs: Any = None
) -> ClassNode:
    node = type.__new__(ClassNode, "Node", (), {"__new__": _allocated})
    node.module, node.name, node.key = module, name, canonical(module, name)
    node.args, node.kwargs, node.called = args, kwargs or {}, False
    node.state, node.items, node.pairs = None, [], []
    return node


def canonical(module: str, name: str) -> str:
    """Return the one ``module:name`` for a global that moved between versions."""
    # Pickles up to protocol 2 use the names of Python 2.
    moved = IMPORT_MAPPING.get(module, module), name
    module, name = NAME_MAPPING.get((module, name), moved)
    module = module.replace("pathlib._local", "pathlib")
    if module.startswith("numpy.core."):
        module = module.replace("numpy.core.", "numpy._core.", 1)
    return f"{module}:{name}"


@functools.lru_cache(maxsize=4096)
def node_class(module: str, name: str) -> type[Node]:
    """Return the class that stands for a global; a pickle cannot change it, so it is shared."""
    body = {"__slots__": (), "module": module, "name": name, "key": canonical(module, name)}
    return cast("type[Node]", type("Node", (Node,), body))


class _Parser(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, kind: Callable[[str, str], Any]) -> None:
        super().__init__(stream)
        self._kind = kind
        self.names: dict[str, None] = {}  # a set that keeps its order
        self.persistent_ids: list[Any] = []

    def find_class(self, module: str, name: str) -> Any:
        """Note the name, and return what stands for it."""
        self.names[f"{module}:{name}"] = None
        return self._kind(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """Note the id, and return what stands for the object."""
        self.names[PERSISTENT] = None
        self.persistent_ids.append(pid)
        return self._kind("pickle", "persistent_load")(pid)


@dataclass(frozen=True)
class Parsed:
    """A pickle in plain containers and nodes.

    Attributes:
        tree: What it describes.
        names: Every global that it names, as ``module:name``, in order, each once.
        persistent_ids: Every persistent id that it holds, in order.
        end: The offset behind it.
    """

    tree: object
    names: tuple[str, ...]
    persistent_ids: list[Any]
    end: int


def parse(data: bytes | memoryview, file: str, start: int = 0) -> Parsed:
    """Read one pickle.

    Args:
        data: The bytes that hold it.
        file: What to call them in messages.
        start: Where it begins.

    Raises:
        CorruptDataError: The bytes are not a whole pickle.
        UntrustedPickleError: It uses codes of ``copyreg``'s registry of extensions.
    """
    whole = bytes(data)  # no copy of bytes
    try:
        found = scan(whole, start)
        _refuse_extensions(found.extensions, file)
        parser, tree = _load(whole, start)
    except UntrustedPickleError:
        raise
    except Exception as error:  # damaged bytes fail in any way; nothing foreign ran
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "  # our own
        reason = f"the pickle cannot be parsed ({kind}{error})"
        raise CorruptDataError(file, reason) from error
    return Parsed(tree, tuple(parser.names), parser.persistent_ids, found.end)


def _load(data: bytes, start: int) -> tuple[_Parser, object]:
    try:
        return _load_as(node_class, data, start)
    except pickle.UnpicklingError:  # perhaps for want of a type
        return _load_as(_class_node, data, start)


def _load_as(kind: Callable[[str, str], Any], data: bytes, start: int) -> tuple[_Parser, object]:
    stream = io.BytesIO(data)
    stream.seek(start)
    parser = _Parser(stream, kind)
    return parser, parser.load()


def _refuse_extensions(codes: tuple[int, ...], file: str) -> None:
    # For a code that this process has used before, the unpickler does not ask find_class.
    if codes:
        registry = vars(copyreg)["_inverted_registry"]
        names = (":".join(registry.get(code, ("copyreg", f"extension {code}"))) for code in codes)
        raise UntrustedPickleError(file, tuple(names))
