"""A document's tree with its values left inert: nothing of the table's types is made.

`tune_ckpt.formats.making` makes the real values, of all of it or of a part;
`tune_ckpt.formats.listing` lists the arrays.
"""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.document_reading import Head
from tune_ckpt.formats.extensions import Row
from tune_ckpt.formats.io import Source
from tune_ckpt.formats.parts import path_of
from tune_ckpt.formats.unpacking import MALFORMED, SHARED_ROW, find_row, short_parts, unpack_with


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

    def __repr__(self) -> str:
        return f"<{self.row.name}>"


def _text(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except MALFORMED:  # it is about a value that cannot be shown
        return type(error).__name__


class Tree:
    """The inert tree of one document.

    Args:
        source: The document.
        head: What stands before its blobs.

    Raises:
        CorruptDataError: It is not what was written.

    Attributes:
        state: The state: dicts, lists, plain values, and a `Node` for each value of the table.
        source: The document.
        head: What stands before its blobs.
    """

    def __init__(self, source: Source, head: Head) -> None:
        self.source = source
        self.head = head
        self._open: list[int] = []
        self._numbered: list[Node | None] = []
        try:
            self.state = unpack_with(head.state, self._tag, self._node)
        except MALFORMED as error:
            raise self.fault((), error) from error

    def fault(self, steps: tuple[Any, ...], error: Exception) -> CorruptDataError:
        """Return the error that names a place in the tree."""
        path = path_of(steps) or "(root)"
        reason = f"its tree holds what no writer writes, at {path} ({_text(error)})"
        return CorruptDataError(self.source.name, reason)

    def _tag(self, code: int, payload: bytes) -> Row | Node:
        row = find_row(code)
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
