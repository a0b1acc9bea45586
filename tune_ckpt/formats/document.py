"""A typed document as bytes: where its header, tree and blobs lie, and moving them at full speed.

A document is a stream of ordinary msgpack objects::

    header   ["tune_ckpt", version, tree_nbytes (uint 64), digest (bin 8, 16 bytes)]    39 bytes
    tree     table: [[nbytes, digest], ...], one entry a blob
             state: the state, each large array replaced by the number of its blob
    blobs    nil ... nil  bin 32 (data)   the data begins on a multiple of 64 bytes;
             ...                          one over 4 GiB is several such pieces

A digest is XXH3-128, big-endian, of a blob's data or (in the header) of the whole tree. The tree
holds the digests of the blobs, so the header's digest names the whole content.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import xxhash

from tune_ckpt.formats.io import Sink
from tune_ckpt.formats.packed import CHUNK_NBYTES, Referring
from tune_ckpt.formats.wire import packb

MAGIC = "tune_ckpt"
VERSION = 1
ALIGNMENT = 64
_PIECE_NBYTES = 2**32 - ALIGNMENT  # the most that one bin object holds, in aligned pieces
HEADER = struct.Struct(">B 10s B BQ BB16s")
HEADER_START = bytes([0x94, 0xA0 + len(MAGIC)]) + MAGIC.encode()
_THREADS = min(4, os.cpu_count() or 1)
_WORTH_THREADS_NBYTES = 2**22

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Piece:
    """One contiguous range of a blob: its bytes lie at ``offset``, behind ``prefix``."""

    offset: int
    nbytes: int
    prefix: bytes


def place_blobs(start: int, sizes: Sequence[int]) -> Iterator[list[Piece]]:
    """Yield where each blob lies when the first may begin at byte ``start``."""
    for size in sizes:
        pieces = []
        while size:
            nbytes = min(size, _PIECE_NBYTES)
            padding = -(start + 5) % ALIGNMENT
            prefix = b"\xc0" * padding + b"\xc6" + nbytes.to_bytes(4, "big")
            pieces.append(Piece(start + len(prefix), nbytes, prefix))
            start += len(prefix) + nbytes
            size -= nbytes
        yield pieces


def end_of(places: Sequence[Sequence[Piece]], start: int) -> int:
    """Return where the last blob ends; ``start``, behind the tree, where there is none."""
    return places[-1][-1].offset + places[-1][-1].nbytes if places else start


class Document(Referring):
    """A packed state, ready to be written.

    Args:
        state: Its msgpack bytes.
        blobs: The memory of the larger arrays, in order.

    Attributes:
        nbytes: The size of the whole document.
        blobs: The memory of the larger arrays, in order.
    """

    def __init__(self, state: bytes, blobs: Sequence[memoryview]) -> None:
        self._state = state
        self.blobs = blobs
        sizes = [blob.nbytes for blob in blobs]
        table_nbytes = len(self._table([b"\0" * 16] * len(blobs)))
        head_nbytes = HEADER.size + table_nbytes + len(state)
        self._places = list(place_blobs(head_nbytes, sizes))
        self.nbytes = end_of(self._places, head_nbytes)

    def over(self, blobs: Sequence[memoryview]) -> Document:
        """Return the same document over copies of its blobs."""
        return Document(self._state, blobs)

    def write(self, sink: Sink) -> str:
        """Write the document to a sink of `nbytes` bytes and return its digest (hexadecimal)."""
        if sink.random_access:
            digests = self._each_blob(lambda number: self._write_blob(sink, number))
            return self._write_head(sink, digests)
        digest = self._write_head(sink, self._each_blob(lambda i: digest_of(self.blobs[i])))
        for number in range(len(self.blobs)):
            self._write_blob(sink, number)
        return digest

    def digest(self) -> str:
        """Return the digest (hexadecimal) that `write` will return."""
        return self._head(self._each_blob(lambda number: digest_of(self.blobs[number])))[1]

    def _table(self, digests: Sequence[bytes]) -> bytes:
        sizes = (blob.nbytes for blob in self.blobs)
        return packb([*map(list, zip(sizes, digests, strict=True))])

    def _head(self, digests: Sequence[bytes]) -> tuple[bytes, str]:
        """Return header and table, and the document's digest."""
        table = self._table(digests)
        digest = xxhash.xxh3_128(table)
        digest.update(self._state)
        tree_nbytes = (len(table) + len(self._state)).to_bytes(8, "big")
        header = HEADER_START + bytes([VERSION, 0xCF]) + tree_nbytes + b"\xc4\x10"
        return header + digest.digest() + table, digest.hexdigest()

    def _write_head(self, sink: Sink, digests: Sequence[bytes]) -> str:
        start, digest = self._head(digests)
        sink.write_at(0, start)
        sink.write_at(len(start), self._state)
        return digest

    def _write_blob(self, sink: Sink, number: int) -> bytes:
        blob = self.blobs[number]
        digest = xxhash.xxh3_128()
        for piece in self._places[number]:
            sink.write_at(piece.offset - len(piece.prefix), piece.prefix)
            start = 0
            while start < piece.nbytes:
                # Chunks end at the file's pages: half a page costs the system as much as a whole.
                end = start + CHUNK_NBYTES - (piece.offset + start) % CHUNK_NBYTES
                chunk = blob[start : min(end, piece.nbytes)]
                digest.update(chunk)
                sink.write_at(piece.offset + start, chunk)
                start = end
            blob = blob[piece.nbytes :]
        return digest.digest()

    def _each_blob(self, work: Callable[[int], bytes]) -> list[bytes]:
        return in_threads(work, range(len(self.blobs)), self.nbytes)


def digest_of(data: bytes | memoryview) -> bytes:
    """Return the XXH3-128 of some bytes."""
    return xxhash.xxh3_128_digest(data)


def in_threads(work: Callable[[T], R], items: Sequence[T], nbytes: int) -> list[R]:
    """Return ``work`` of each item, by several threads where ``nbytes`` of work are worth it."""
    if nbytes < _WORTH_THREADS_NBYTES or len(items) < 2 or _THREADS < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, items))
