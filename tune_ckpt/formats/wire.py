"""msgpack's own classes, whatever another library has made of ``msgpack.packb`` meanwhile.

``msgpack_numpy.patch()`` replaces the names in the module ``msgpack`` for the whole process; the
classes behind them stay as they are.

Where msgpack was installed without its C part, its Python part reads and writes the same bytes, but
far more slowly, and nested only as deep as Python's stack allows.
"""

from __future__ import annotations

from typing import Any

from msgpack import StackError

try:
    from msgpack._cmsgpack import Packer, Unpacker, unpackb
except ImportError:
    from msgpack.fallback import Packer, Unpacker, unpackb

__all__ = ["Packer", "packb", "streamed", "unpackb", "why_unread"]

_CHUNK_NBYTES = 2**18


def packb(value: Any, **options: Any) -> bytes:
    """Return a value as msgpack bytes."""
    packed: bytes = Packer(**options).pack(value)
    return packed


def streamed(data: bytes | bytearray | memoryview) -> Any:
    """Return an unpacker over bytes in memory, of which it copies a chunk at a time.

    ``feed`` would copy them all, which takes longer than skipping through them.
    """
    return unpacker_of(_Reader(memoryview(data)), len(data))


def unpacker_of(file: Any, nbytes: int) -> Any:
    """Return an unpacker over a file of that size, of which it asks for a chunk at a time."""
    limit = max(nbytes, _CHUNK_NBYTES)
    return Unpacker(file, read_size=_CHUNK_NBYTES, max_buffer_size=limit)


def why_unread(error: Exception) -> str:
    """Return why msgpack could not read on; some of its errors say nothing themselves."""
    return "it is nested too deeply" if isinstance(error, StackError) else str(error)


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._rest = data

    def read(self, nbytes: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        taken, self._rest = self._rest[:nbytes], self._rest[nbytes:]
        return bytes(taken)
