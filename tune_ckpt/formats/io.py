"""The two ends of a document: a `Source` of ranges of bytes, a `Sink` that takes them.

Floor 2 implements both for files on any storage; the ones here live in memory.
"""

from __future__ import annotations

import io
from typing import Any, Protocol

import numpy as np

from tune_ckpt.errors import CorruptDataError


class Source(Protocol):
    """Bytes that can be read in any order.

    Attributes:
        name: What to call it in messages; a file's path.
        nbytes: Its whole size.
        chunk_nbytes: How much to ask for at once: a request has its price on remote storage.
    """

    name: str
    nbytes: int
    chunk_nbytes: int

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        """Fill the buffers in turn, from ``offset`` on; safe to call from several threads."""

    def mapped(self) -> memoryview | None:
        """Return a private, writable (copy-on-write) view of it all, or None where none exists."""


class Sink(Protocol):
    """Takes the bytes of one document.

    Attributes:
        random_access: Whether ranges may come in any order and from several threads. Where not,
            they come in order, without gaps.
    """

    random_access: bool

    def write_at(self, offset: int, buffer: bytes | memoryview) -> None:
        """Put ``buffer`` at ``offset``."""


class BytesSource:
    """A document held in memory."""

    chunk_nbytes = 2**18

    def __init__(self, data: bytes | bytearray | memoryview, name: str = "bytes") -> None:
        self._view = memoryview(data).cast("B")
        self.name = name
        self.nbytes = self._view.nbytes

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        """Copy a range out of the memory."""
        for buffer in buffers:
            buffer[:] = self._view[offset : offset + buffer.nbytes]
            offset += buffer.nbytes

    def mapped(self) -> memoryview | None:
        """Return a private copy: the caller's bytes are not ours to change."""
        return memoryview(bytearray(self._view))


class BytesSink:
    """Collects a document of known size in memory."""

    random_access = True

    def __init__(self, nbytes: int) -> None:
        self.buffer = bytearray(nbytes)

    def write_at(self, offset: int, buffer: bytes | memoryview) -> None:
        """Copy ``buffer`` into place."""
        self.buffer[offset : offset + len(buffer)] = buffer


def read_range(source: Source, offset: int, nbytes: int) -> memoryview:
    """Return ``nbytes`` bytes from ``offset``.

    Raises:
        CorruptDataError: The source ends before that.
    """
    if offset + nbytes > source.nbytes:
        reason = f"it ends at byte {source.nbytes}, but {nbytes} bytes are due"
        raise CorruptDataError(source.name, reason, offset)
    buffer = np.empty(nbytes, np.uint8).data  # unlike a bytearray, not filled with zeros first
    source.read_into(offset, buffer)
    return buffer


class _Raw(io.RawIOBase):
    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes left, and return how many that were."""
        part = memoryview(buffer).cast("B")[: self._source.nbytes - self._at]
        self._source.read_into(self._at, part)
        self._at += part.nbytes
        return part.nbytes


def stream_of(source: Source) -> io.BufferedReader:
    """Return a source as a file, for code that reads it from its beginning to its end."""
    return io.BufferedReader(_Raw(source), source.chunk_nbytes)
