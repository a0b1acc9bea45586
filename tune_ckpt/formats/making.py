"""The real values of an inert tree, or of one part of it: only the blobs they need are read."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from itertools import count, repeat
from typing import Any

from tune_ckpt.formats.extensions import Row
from tune_ckpt.formats.inert import Node, Tree
from tune_ckpt.formats.parts import find_part
from tune_ckpt.formats.unpacking import MALFORMED, Tensors, Unpacking


def make(tree: Tree, value: Any, *, tensors: Tensors | None = None, mmap: bool = False) -> Any:
    """Return the real value of an inert one, its arrays read and verified.

    Args:
        tree: The tree that the value is from.
        value: The inert value: ``tree.state``, or what `part_of` found.
        tensors: How tensors come back; see `tune_ckpt.formats.msgpack.load`.
        mmap: Whether to map the arrays instead of reading them.

    Raises:
        CorruptDataError: The tree or a blob is not what was written.
        MissingDependencyError: A value needs a package that is not installed.
    """
    maker = _Maker(tree, tensors, mmap=mmap)
    made = maker.run(value)
    maker.settle()
    return made


def contents_of(tree: Tree, value: Any) -> Any:
    """Return the dict (its keys real) or list that an inert value has inside; None without."""
    if type(value) is Node:
        node = tree.referred(value)
        value = node.row.contents(*node.parts) if node.row.contents else None
    if not isinstance(value, dict):
        return value if isinstance(value, list) else None
    return {
        make(tree, key, tensors="numpy") if type(key) is Node else key: item
        for key, item in value.items()
    }


def part_of(tree: Tree, at: str) -> Any:
    """Return one part of a tree, inert; see `tune_ckpt.formats.parts.find_part`.

    Raises:
        PartNotFoundError: There is no such part; it lists what there is.
        CorruptDataError: The tree is malformed on the way to it.
        MissingDependencyError: A dict's key needs a package that is not installed.
    """
    try:
        return find_part(tree.state, at, tree.source.name, partial(contents_of, tree))
    except MALFORMED as error:
        raise tree.fault((at,), error) from error


_Making = Generator[tuple[Any, Any], Any, Any]  # yields steps and inert values, is sent real ones


_INERT = {dict, list, Node, Row, type(None)}


class _Maker(Unpacking):
    """Makes inert values real, on a stack of its own: Python's may be too short."""

    def __init__(self, tree: Tree, tensors: Tensors | None, *, mmap: bool) -> None:
        super().__init__(tree.source, tree.head, tensors, mmap=mmap)
        self._tree = tree
        self._made: dict[int, Any] = {}
        self._under_way: set[int] = set()
        self._taken: set[int] = set()

    def run(self, root: Any) -> Any:
        """Return what the root makes, without recursion."""
        stack: list[tuple[Any, _Making]] = [(None, self._make(root))]
        made = None
        while stack:
            try:
                step, child = stack[-1][1].send(made)
            except StopIteration as end:
                made = end.value
                stack.pop()
            except MALFORMED as error:
                raise self._tree.fault(tuple(step for step, _ in stack), error) from error
            else:
                made = None if type(child) in _INERT else child
                if made is None:
                    stack.append((step, self._make(child)))
        return made

    def _make(self, value: Any) -> _Making:
        if isinstance(value, dict):
            items = {}
            for key, item in value.items():
                made_key = yield key, key
                items[made_key] = yield made_key, item
            return items
        if isinstance(value, list):
            return (yield from _each(enumerate(value)))
        if isinstance(value, Row):
            raise ValueError("a tag that is not the first element of an array")
        return (yield from self._make_node(value)) if isinstance(value, Node) else value

    def _make_node(self, node: Node) -> _Making:
        node = self._tree.referred(node)
        number = node.number
        if number in self._made:
            return self._made[number]
        if number in self._under_way:
            raise ValueError("a value that contains itself")
        if number >= 0:
            self._under_way.add(number)
        steps = count() if node.row.parts_are_items else repeat(None)
        parts = yield from _each(zip(steps, node.parts, strict=False))
        made = node.row.read(self, *parts)
        if number >= 0:
            self._made[number] = made
        return made

    def _claim(self, number: int) -> Any:
        # In a part the order says nothing, but no blob is read twice.
        if number in self._taken or not 0 <= number < len(self._head.blobs):
            raise ValueError(f"blob {number} does not exist, or belongs to two arrays")
        self._taken.add(number)
        return self._head.blobs[number]


def _each(children: Iterable[tuple[Any, Any]]) -> _Making:
    made = []
    for step, child in children:
        made.append((yield step, child))
    return made
