"""The arrays of a document, listed from its tree: none of them is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tune_ckpt.formats.dtypes import decode_dtype
from tune_ckpt.formats.inert import Node, Tree
from tune_ckpt.formats.making import contents_of
from tune_ckpt.formats.parts import path_of
from tune_ckpt.formats.unpacking import MALFORMED, SHARED_ROW

Steps = tuple[Any, ...]


@dataclass(frozen=True)
class ArrayInfo:
    """What a document says about one array.

    Attributes:
        path: Where it stands in the state.
        kind: ``ndarray``, ``torch tensor``, ...
        dtype: Its dtype as text.
        shape: Its shape.
        nbytes: The size of its data; 0 where its elements are Python objects.
    """

    path: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


def list_arrays(tree: Tree) -> Iterator[ArrayInfo]:
    """Yield what a document says about each array, in order; a shared one is yielded once.

    Raises:
        CorruptDataError: The tree is malformed.
        MissingDependencyError: A dict's key needs a package that is not installed.
    """
    stack: list[tuple[Steps, Any]] = [((), tree.state)]
    while stack:
        steps, value = stack.pop()
        try:
            is_array = type(value) is Node and value.row.is_array and len(value.parts) > 2
            info = _info(tree, steps, value) if is_array else None
            children = [] if is_array else _children(tree, value)
        except MALFORMED as error:
            raise tree.fault(steps, error) from error
        if info is not None:
            yield info
        stack += [((*steps, step), child) for step, child in reversed(children)]


def _info(tree: Tree, steps: Steps, node: Node) -> ArrayInfo:
    code, shape, data, *_ = node.parts
    nbytes = len(data) if type(data) is bytes else 0
    if type(data) is int:
        nbytes = tree.head.nbytes_of(data)
    dtype = code if type(code) is str else str(decode_dtype(code))
    return ArrayInfo(path_of(steps), node.row.name, dtype, tuple(shape), nbytes)


def _children(tree: Tree, value: Any) -> list[tuple[Any, Any]]:
    if type(value) is Node and value.row is SHARED_ROW:
        return []
    items = contents_of(tree, value)
    if isinstance(items, dict):
        return [("None" if key is None else key, item) for key, item in items.items()]
    if items is not None:
        return list(enumerate(items))
    return [(None, part) for part in value.parts] if type(value) is Node else []
