"""A packed component tree with memory of its own: what is saved later is what was packed now.

A packed tree refers to the large arrays that it was packed from; all else in it is bytes already.
So a snapshot copies those arrays, and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from tune_ckpt.formats.document import in_threads
from tune_ckpt.formats.packed import Packed, Referring
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.packing import Node, PackedComponent, pack_tree

_ALIGNMENT = 64
_CHUNK_NBYTES = 2**24  # for each thread at a time

Memory = npt.NDArray[np.uint8]


class Arena:
    """Memory for one snapshot at a time, kept for the next one.

    The system takes longer to hand out fresh memory than we take to fill it.
    """

    def __init__(self) -> None:
        self._memory: Memory = np.empty(0, np.uint8)

    def copies(self, blobs: Sequence[memoryview]) -> list[memoryview]:
        """Return copies, which are good until the next call."""
        sizes = [-(-blob.nbytes // _ALIGNMENT) * _ALIGNMENT for blob in blobs]
        self._reserve(sum(sizes))
        ends = np.cumsum(sizes, dtype=np.int64).tolist()
        starts = [end - size for end, size in zip(ends, sizes, strict=True)]
        targets = [
            self._memory[start : start + blob.nbytes]
            for start, blob in zip(starts, blobs, strict=True)
        ]
        _copy(targets, [np.frombuffer(blob, np.uint8) for blob in blobs])
        return [target.data for target in targets]

    def _reserve(self, nbytes: int) -> None:
        if not nbytes <= self._memory.nbytes <= 2 * nbytes:
            self._memory = np.empty(0, np.uint8)  # first, so that never both are there
            self._memory = np.empty(nbytes, np.uint8)


def _copy(targets: Sequence[Memory], sources: Sequence[Memory]) -> None:
    chunks = [
        (target[start : start + _CHUNK_NBYTES], source[start : start + _CHUNK_NBYTES])
        for target, source in zip(targets, sources, strict=True)
        for start in range(0, source.nbytes, _CHUNK_NBYTES)
    ]
    nbytes = sum(source.nbytes for source in sources)
    in_threads(lambda chunk: np.copyto(*chunk), chunks, nbytes)


# ------------------------------------------------------------------------------- packed trees


def snapshot(component: Node, format: Format, arena: Arena) -> PackedComponent:
    """Return a tree packed, and independent of the objects that it was made of.

    Args:
        component: The tree.
        format: How its files are packed.
        arena: Where the copies are made; an earlier snapshot in it is overwritten.

    Raises:
        InvalidArgumentError: There is no such format.
        UnsupportedStateError: The format cannot bring back some values; all are listed.
        InvalidNameError: A component's name cannot be a folder.
    """
    packed = pack_tree(component, format, attrgetter("pack_late"))
    blobs = [blob for file in _referring(packed) for blob in file.blobs]
    return _over(packed, iter(arena.copies(blobs)))


def _referring(packed: PackedComponent) -> Iterator[Referring]:
    yield from (file for file in packed.files.values() if isinstance(file, Referring))
    for child in packed.components.values():
        yield from _referring(child)


def _over(packed: PackedComponent, copies: Iterator[memoryview]) -> PackedComponent:
    def own(file: Packed) -> Packed:
        """Return a file that refers to the copies only."""
        if not isinstance(file, Referring):
            return file
        return file.over([next(copies) for _ in file.blobs])

    files = {role: own(file) for role, file in packed.files.items()}
    components = {name: _over(child, copies) for name, child in packed.components.items()}
    extra = copy.deepcopy(packed.extra)
    return replace(packed, files=files, components=components, extra=extra)
