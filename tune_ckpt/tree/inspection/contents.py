"""What a component's file holds, as far as it can be looked at without building anything.

A file's `Contents` lists its arrays, and walks it: every container, array and other value with its
path, the same for a pickle, a document of ours and a file of RLlib's. The arrays of our documents
are not read for it: the tree tells all but their elements.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np
import xxhash

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.arrays import checked_shape
from tune_ckpt.formats.document import HEADER_START
from tune_ckpt.formats.document_reading import read_head
from tune_ckpt.formats.inert import Node, Tree
from tune_ckpt.formats.io import Source, read_range
from tune_ckpt.formats.listing import list_arrays
from tune_ckpt.formats.making import contents_of, make
from tune_ckpt.formats.unpacking import MALFORMED
from tune_ckpt.tree.inspection.found import UNTOLD, Array, ArrayFacts, Found, Group, Key, walk
from tune_ckpt.tree.inspection.looking import (
    array_digest,
    dict_children,
    list_children,
    look,
    order_of,
)
from tune_ckpt.tree.layout import FORMATS, format_of
from tune_ckpt.tree.storage.folder import Store

_Walked = Iterator[tuple[Key, str, Found]]


class Contents(Protocol):
    """A file that was opened to be looked at."""

    def arrays(self) -> Iterator[ArrayFacts]:
        """Yield what is known of each array, in order; of a shared one once."""

    def walk(self) -> _Walked:
        """Yield every value's key, its path and what was found; a shared one under each path."""


@contextmanager
def open_contents(store: Store, name: str, digest: str = "") -> Iterator[Contents]:
    """Open a file to look at it; nothing that it names is imported, called or constructed.

    Args:
        store: Its folder.
        name: Its name.
        digest: Its expected digest; empty where nothing tells it.

    Raises:
        CorruptDataError: It is not what was written.
        UntrustedPickleError, PickleReadError: It is a pickle that cannot even be read inertly.
        StorageError: It cannot be read.
    """
    with store.open(name) as source:
        yield _opened(source, digest)


def _opened(source: Source, digest: str) -> Contents:
    start = bytes(read_range(source, 0, min(source.nbytes, len(HEADER_START))))
    if start == HEADER_START:
        document = _Document(source)
        _check(source, document.digest, digest)
        return document
    data = bytes(read_range(source, 0, source.nbytes))
    _check(source, xxhash.xxh3_128_hexdigest(data), digest)
    return _Loaded(loads(data, source.name))


def _check(source: Source, found: str, expected: str) -> None:
    if expected and found != expected:
        raise CorruptDataError(source.name, "it does not match its digest")


def loads(data: bytes, file: str) -> Any:
    """Return what a file holds that is no document of ours, inertly.

    Args:
        data: Its bytes.
        file: Its path, whose suffix tells the format.

    Raises:
        CorruptDataError: They are not what was written.
        UntrustedPickleError, PickleReadError: They are a pickle that cannot be read inertly.
    """
    return FORMATS[format_of(file)].loads_inert(data, file)


class _Loaded:
    """A state that is in memory, inertly."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def arrays(self) -> Iterator[ArrayFacts]:
        """Yield each array once, with its path."""
        seen: dict[int, Any] = {}
        for _, path, found in walk(self._state, look, once=True):
            if isinstance(found, Array) and id(found.owner) not in seen:
                seen[id(found.owner)] = found.owner
                yield found.facts(path)
            elif isinstance(found, Group) and _holds_objects(found.owner):
                yield ArrayFacts(path, UNTOLD, str(found.owner.dtype), found.owner.shape, 0)

    def walk(self) -> _Walked:
        """Walk over the state."""
        return walk(self._state, look)


def _holds_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.hasobject


# --------------------------------------------------------------------------- our own documents


class _Blank:
    """A document whose arrays, when it is mapped, have the right places, but no elements.

    Mapping it takes no memory and reads nothing, wherever it is stored.
    """

    def __init__(self, source: Source) -> None:
        self.name, self.nbytes, self.chunk_nbytes = source.name, source.nbytes, source.chunk_nbytes
        self.read_into: Callable[..., None] = source.read_into
        # Private: what is shared must fit into the machine's memory, though nothing is touched.
        pages = mmap.mmap(-1, source.nbytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        self._memory = memoryview(pages)
        self._start = _address(np.frombuffer(self._memory, np.uint8))

    def mapped(self) -> memoryview:
        """Return memory of the document's size."""
        return self._memory

    def offset(self, array: np.ndarray[Any, Any]) -> int | None:
        """Return where in the document an array's elements lie, if they were mapped."""
        offset = _address(array) - self._start
        return offset if 0 <= offset < self.nbytes else None


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


class _Document:
    """A document of ours, of which only header and tree are read until an array is."""

    def __init__(self, source: Source) -> None:
        head = read_head(source)
        self.digest = head.digest
        self._blank = _Blank(source)
        self._tree = Tree(self._blank, head)
        self._digests = {
            pieces[0].offset: digest.hex()
            for pieces, digest in zip(head.blobs, head.digests, strict=True)
        }

    def arrays(self) -> Iterator[ArrayFacts]:
        """Yield each array, of whose data nothing is read."""
        for info in list_arrays(self._tree):
            try:
                dtype, shape = _dtype_text(info.dtype), checked_shape(list(info.shape))
            except MALFORMED as error:
                raise self._tree.fault((info.path,), error) from error
            yield ArrayFacts(info.path, info.kind, dtype, shape, info.nbytes)

    def walk(self) -> _Walked:
        """Walk over the tree."""
        return walk(self._tree.state, self._look)

    def _look(self, value: Any) -> Found:
        try:
            if type(value) is Node:
                return self._look_at_node(self._tree.referred(value))
            return self._group(value, type(value).__name__) or look(value)
        except MALFORMED as error:
            raise self._tree.fault((), error) from error

    def _look_at_node(self, node: Node) -> Found:
        if node.row.is_array:
            return self._array(node)
        if node.row.name == "namedtuple":
            name, fields, values = node.parts
            return Group(name, node, list_children(values, fields))
        return self._group(node, node.row.name) or look(self._real(node))

    def _group(self, value: Any, kind: str) -> Group | None:
        items = contents_of(self._tree, value)
        if items is None:
            return None
        children = list_children(items) if isinstance(items, list) else dict_children(items)
        return Group(kind, value, children)

    def _real(self, node: Node) -> Any:
        return make(self._tree, node, tensors="numpy")

    def _array(self, node: Node) -> Found:
        blank = make(self._tree, node, tensors="numpy", mmap=True)
        if blank.dtype.hasobject:
            return look(self._real(node))
        offset = self._blank.offset(blank)
        # A small array stands in the tree, and one in several pieces cannot be mapped.
        digest = array_digest(blank) if offset is None else self._digests[offset]
        return Array(
            node.row.name,
            blank.dtype,
            blank.shape,
            order_of(blank),
            lambda: digest,
            partial(self._real, node),
            node,
        )


def _dtype_text(code: str) -> str:
    # NumPy's own codes are not for people: "<f4" is float32. Long doubles end with their bits.
    return str(np.dtype(code.partition("/")[0])) if code[0] in "<>|O" else code
