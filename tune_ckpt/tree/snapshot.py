"""A packed component tree with memory of its own: what is saved later is what was packed now.

A packed tree refers to the arrays that it was packed from; all else in it is bytes already. So a
snapshot copies those arrays, and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tune_ckpt.formats.document import Document, in_threads
from tune_ckpt.tree.packing import Packed, PackedComponent

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


def snapshot(packed: PackedComponent, arena: Arena) -> PackedComponent:
    """Return the same tree, independent of the objects that it was packed from.

    Args:
        packed: The tree.
        arena: Where the copies are made; an earlier snapshot in it is overwritten.
    """
    blobs = [blob for document in _documents(packed) for blob in document.blobs]
    return _over(packed, iter(arena.copies(blobs)))


def _documents(packed: PackedComponent) -> Iterator[Document]:
    for file in packed.files.values():
        if isinstance(file, Document):
            yield file
    for child in packed.components.values():
        yield from _documents(child)


def _over(packed: PackedComponent, copies: Iterator[memoryview]) -> PackedComponent:
    files: dict[str, Packed] = {
        role: file.over([next(copies) for _ in file.blobs]) if isinstance(file, Document) else file
        for role, file in packed.files.items()
    }
    components = {name: _over(child, copies) for name, child in packed.components.items()}
    extra = copy.deepcopy(packed.extra)
    return replace(packed, files=files, components=components, extra=extra)
