"""Reading a typed document: no byte of it is believed before its digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xxhash
from msgpack import UnpackException

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.document import (
    HEADER,
    HEADER_START,
    VERSION,
    Piece,
    digest_of,
    end_of,
    place_blobs,
)
from tune_ckpt.formats.io import Source, read_range
from tune_ckpt.formats.wire import streamed, why_unread


@dataclass(frozen=True)
class Head:
    """What stands before the blobs.

    Attributes:
        state: The state's msgpack bytes.
        digest: The document's digest, hexadecimal.
        blobs: Where each blob's pieces lie.
        digests: Each blob's digest.
    """

    state: memoryview
    digest: str
    blobs: list[list[Piece]]
    digests: list[bytes]

    def nbytes_of(self, number: int) -> int:
        """Return the size of a blob."""
        return sum(piece.nbytes for piece in self.blobs[number])


def read_head(source: Source) -> Head:
    """Read header and tree, and check them and the document's size.

    Raises:
        CorruptDataError: They are not what was written.
    """
    header = bytes(read_range(source, 0, min(HEADER.size, source.nbytes)))
    if not header.startswith(HEADER_START):
        raise CorruptDataError(source.name, "it is not a tune_ckpt document", 0)
    if len(header) < HEADER.size:
        raise CorruptDataError(source.name, "its header is cut short", len(header))
    _, _, version, uint64, tree_nbytes, bin8, size, digest = HEADER.unpack(header)
    if version != VERSION:
        raise CorruptDataError(source.name, f"its format version {version} is not known here", 11)
    if (uint64, bin8, size) != (0xCF, 0xC4, 16):
        raise CorruptDataError(source.name, "its header is damaged", 12)
    tree = read_range(source, HEADER.size, tree_nbytes)
    if digest_of(tree) != digest:
        raise CorruptDataError(source.name, "its tree does not match its digest", HEADER.size)
    return _parse_tree(source, tree, digest)


def _parse_tree(source: Source, tree: memoryview, digest: bytes) -> Head:
    unpacker = streamed(tree)
    try:
        table = unpacker.unpack()
        state = tree[unpacker.tell() :]
        unpacker.skip()  # costs little, and shows every length to be true before it is believed
        end = unpacker.tell()
        sizes, digests = _checked_table(table, source.nbytes)
    except (ValueError, TypeError, UnpackException) as error:
        where = HEADER.size + unpacker.tell()
        reason = f"its tree cannot be read: {why_unread(error)}"
        raise CorruptDataError(source.name, reason, where) from error
    behind_tree = HEADER.size + tree.nbytes
    blobs = list(place_blobs(behind_tree, sizes))
    nbytes = end_of(blobs, behind_tree)
    if end != tree.nbytes or nbytes != source.nbytes:
        reason = f"it has {source.nbytes} bytes instead of {nbytes}"
        raise CorruptDataError(source.name, reason, min(nbytes, source.nbytes))
    return Head(state, digest.hex(), blobs, digests)


def _checked_table(table: Any, limit: int) -> tuple[list[int], list[bytes]]:
    sizes, digests = [size for size, _ in table], [digest for _, digest in table]
    if any(type(size) is not int or size <= 0 for size in sizes):
        raise ValueError("a blob's size is not a positive number")
    if sum(sizes) > limit:
        raise ValueError("its blobs are larger than the file")
    if any(type(digest) is not bytes or len(digest) != 16 for digest in digests):
        raise ValueError("a blob's digest is not 16 bytes")
    return sizes, digests


def read_blob(source: Source, head: Head, number: int, target: memoryview) -> None:
    """Read a blob into ``target``, which has its size, and check its digest.

    Raises:
        CorruptDataError: The bytes are not what was written.
    """
    start = 0

    def take(nbytes: int) -> memoryview:
        """Return the next part of the target."""
        nonlocal start
        start += nbytes
        return target[start - nbytes : start]

    _read_pieces(source, head, number, take)


def check_blob(source: Source, head: Head, number: int) -> None:
    """Check a blob's digest with one chunk of memory.

    Raises:
        CorruptDataError: The bytes are not what was written.
    """
    chunk = memoryview(bytearray(source.chunk_nbytes))
    _read_pieces(source, head, number, lambda nbytes: chunk[:nbytes])


def _read_pieces(
    source: Source, head: Head, number: int, take: Callable[[int], memoryview]
) -> None:
    digest = xxhash.xxh3_128()
    for piece in head.blobs[number]:
        prefix = bytearray(len(piece.prefix))
        # The first request brings the prefix along: a request has its price.
        before: tuple[memoryview, ...] = (memoryview(prefix),)
        for start in range(0, piece.nbytes, source.chunk_nbytes):
            chunk = take(min(source.chunk_nbytes, piece.nbytes - start))
            source.read_into(piece.offset + start - len(prefix) * len(before), *before, chunk)
            digest.update(chunk)
            before = ()
        if prefix != piece.prefix:
            where = piece.offset - len(prefix)
            raise CorruptDataError(source.name, f"what precedes blob {number} is altered", where)
    if digest.digest() != head.digests[number]:
        where = head.blobs[number][0].offset
        raise CorruptDataError(source.name, f"blob {number} does not match its digest", where)
