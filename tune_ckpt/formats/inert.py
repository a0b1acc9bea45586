"""A document's tree without the values: what is in it, and where.

`read_tree` reads header and tree, and builds nothing. `Tree.arrays` then tells every array's dtype,
shape, place and digest, and `Tree.part` finds a part, of which `tune_ckpt.formats.making` makes the
real value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import xxhash

from tune_ckpt.errors import CorruptDataError, PartNotFoundError
from tune_ckpt.formats.document_reading import Head, read_head
from tune_ckpt.formats.dtypes import decode_dtype
from tune_ckpt.formats.extensions import Row
from tune_ckpt.formats.io import Source
from tune_ckpt.formats.unpacking import MALFORMED, SHARED_ROW, find_row, short_parts, unpack_with
from tune_ckpt.formats.walking import label


class Node:
    """A value of the table that was not made.

    Attributes:
        row: Its type's row.
        parts: What the document holds of it, itself inert.
        number: Its number, where later values may refer to it.
    """

    __slots__ = ("number", "parts", "row")

    def __init__(self, row: Row, parts: list[Any], number: int) -> None:
        self.row = row
        self.parts = parts
        self.number = number


@dataclass(frozen=True)
class ArrayInfo:
    """What a document tells of one array.

    Attributes:
        path: Where it stands in the state.
        kind: ``ndarray``, ``torch tensor``, ...
        dtype: Its dtype as text.
        shape: Its shape.
        nbytes: The size of its data.
        offset: Where its data lies in the file; None where it stands in the tree.
        digest: The XXH3-128 of its data, hexadecimal; None for an array of Python objects.
    """

    path: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    offset: int | None
    digest: str | None


# The items of a node that is a container, by its row's code.
_CONTENTS: dict[int, Callable[..., Any]] = {
    1: lambda *items: list(items),
    7: lambda items, *_: items,
    8: lambda _, items: items,
    9: lambda items: items,
    10: lambda _, items: items,
    11: lambda _, fields, values: dict(zip(fields, values, strict=True)),
}


def _text(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except MALFORMED:  # it is about a value that cannot be shown
        return type(error).__name__


class Tree:
    """The inert tree of one document.

    Attributes:
        state: The state: dicts, lists, plain values, and a `Node` for each value of the table.
        digest: The document's digest.
        source: The document.
        head: What stands before its blobs.
    """

    def __init__(self, source: Source, head: Head) -> None:
        self.source = source
        self.head = head
        self._open: list[int] = []
        self._numbered: list[Node | None] = []
        self.digest = head.digest
        self.state = self._checked(lambda: unpack_with(head.state, self._tag, self._node), ())

    def _checked(self, work: Callable[[], Any], steps: tuple[Any, ...]) -> Any:
        try:
            return work()
        except MALFORMED as error:
            raise self.fault(steps, error) from error

    def fault(self, steps: tuple[Any, ...], error: Exception) -> CorruptDataError:
        """Return the error that names a place in the tree."""
        path = "/".join(label(step) for step in steps if step is not None) or "(root)"
        reason = f"its tree holds what no writer writes, at {path} ({_text(error)})"
        return CorruptDataError(self.source.name, reason)

    def _tag(self, code: int, payload: bytes) -> Row | Node:
        row = SHARED_ROW if code == SHARED_ROW.code else find_row(code)
        if payload:
            node = Node(row, [*short_parts(row, payload)], len(self._numbered))
            self._numbered.append(node)
            return node
        self._open.append(-1 if row.identity is None else len(self._numbered))
        if row.identity is not None:
            self._numbered.append(None)
        return row

    def _node(self, items: list[Any]) -> Any:
        if not items or items[0].__class__ is not Row:
            return items
        number = self._open.pop()
        node = Node(items[0], items[1:], number)
        if number >= 0:
            self._numbered[number] = node
        return node

    def referred(self, node: Node) -> Node:
        """Return the node itself, or the earlier one that it refers to.

        Raises:
            ValueError: There is none.
        """
        if node.row is not SHARED_ROW:
            return node
        (number,) = node.parts
        found = self._numbered[number] if type(number) is int and number >= 0 else None
        if found is None:
            raise ValueError("there is no earlier value of that number")
        return found

    def contents(self, value: Any) -> Any:
        """Return the dict or list that a value has inside, or None where it is no container."""
        if type(value) is Node:
            node = self.referred(value)
            contents = _CONTENTS.get(node.row.code)
            value = contents(*node.parts) if contents else None
        return value if isinstance(value, dict | list) else None

    # ----------------------------------------------------------------------------- describing

    def arrays(self) -> Iterator[ArrayInfo]:
        """Yield what the document tells of each array, in order.

        Raises:
            CorruptDataError: The tree is malformed.
        """
        stack: list[tuple[tuple[Any, ...], Any]] = [((), self.state)]
        while stack:
            steps, value = stack.pop()
            if type(value) is Node and value.row.is_array and len(value.parts) > 2:
                yield self._checked(lambda: self._info(steps, value), steps)  # noqa: B023
            else:
                children = self._checked(lambda: self._children(value), steps)  # noqa: B023
                stack += [((*steps, step), child) for step, child in reversed(children)]

    def _children(self, value: Any) -> list[tuple[Any, Any]]:
        if type(value) is Node and value.row is SHARED_ROW:
            return []
        items = self.contents(value)
        if isinstance(items, dict):
            return list(items.items())
        if items is not None:
            return list(enumerate(items))
        return [(None, part) for part in value.parts] if type(value) is Node else []

    def _info(self, steps: tuple[Any, ...], node: Node) -> ArrayInfo:
        code, shape, data, *_ = node.parts
        offset, digest, nbytes = None, None, 0
        if type(data) is int:
            pieces = self.head.blobs[data]
            offset, digest = pieces[0].offset, self.head.digests[data].hex()
            nbytes = sum(piece.nbytes for piece in pieces)
        elif type(data) is bytes:
            nbytes, digest = len(data), xxhash.xxh3_128_hexdigest(data)
        dtype = code if type(code) is str else str(decode_dtype(code))
        path = "/".join(label(step) for step in steps if step is not None)
        return ArrayInfo(path, node.row.name, dtype, tuple(shape), nbytes, offset, digest)

    # ----------------------------------------------------------------------------- one part

    def part(self, at: str) -> Any:
        """Return one part of the tree, inert.

        Args:
            at: Its path through dicts' keys and lists' indices: ``optimizer/state/0``.

        Raises:
            PartNotFoundError: There is no such part; tells what there is.
        """
        found, value = "", self.state
        while at:
            contents = self._checked(lambda: self.contents(value), (found,))  # noqa: B023
            items = contents if isinstance(contents, dict) else dict(enumerate(contents or []))
            fitting = [key for key in items if f"{at}/".startswith(f"{label(key)}/")]
            if not fitting:
                raise PartNotFoundError(self.source.name, at, found, tuple(map(label, items)))
            key = max(fitting, key=lambda key: len(label(key)))  # a key may have a "/" in it
            found, value = f"{found}/{label(key)}".lstrip("/"), items[key]
            at = at[len(label(key)) + 1 :]
        return value


def read_tree(source: Source) -> Tree:
    """Read a document's header and tree, and build nothing.

    Raises:
        CorruptDataError: They are not what was written.
    """
    return Tree(source, read_head(source))
