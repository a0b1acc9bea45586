"""A file's content that is ready to be written, and knows its size and its digest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import xxhash

from tune_ckpt.formats.io import Sink

# Hashed and then written while it is in the processor's cache; after each, other threads may run.
CHUNK_NBYTES = 2**20


class Packed(Protocol):
    """A file's content to be."""

    @property
    def nbytes(self) -> int:
        """Its size."""

    def digest(self) -> str:
        """Return the digest that `write` will return."""

    def write(self, sink: Sink) -> str:
        """Write it and return its digest."""


class Referring(ABC):
    """A file's content that refers to the memory of arrays, which a snapshot has to copy.

    Attributes:
        blobs: That memory.
    """

    blobs: Sequence[memoryview]

    @abstractmethod
    def over(self, blobs: Sequence[memoryview]) -> Packed:
        """Return the same content, which refers to these copies instead."""


class Buffers:
    """A file's content in memory, ready to be written.

    Args:
        buffers: What it consists of, in order; they must not change until it is written.
        digest: Its digest, where that is not the XXH3-128 of its bytes.

    Attributes:
        nbytes: Its size.
    """

    def __init__(self, buffers: Sequence[bytes | memoryview], digest: str | None = None) -> None:
        self._buffers = buffers
        self._digest = digest
        self.nbytes = sum(map(len, buffers))

    def digest(self) -> str:
        """Return the digest (hexadecimal) that `write` will return."""
        if self._digest is not None:
            return self._digest
        digest = xxhash.xxh3_128()
        for buffer in self._buffers:
            digest.update(buffer)
        return digest.hexdigest()

    def write(self, sink: Sink) -> str:
        """Write it to a sink of `nbytes` bytes and return its digest (hexadecimal)."""
        digest, offset = xxhash.xxh3_128(), 0
        for buffer in self._buffers:
            for start in range(0, len(buffer), CHUNK_NBYTES):
                chunk = memoryview(buffer)[start : start + CHUNK_NBYTES]
                if self._digest is None:
                    digest.update(chunk)
                sink.write_at(offset, chunk)
                offset += chunk.nbytes
        return self._digest or digest.hexdigest()
