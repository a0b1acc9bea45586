"""Finding the values that msgpack's packer writes as something else without asking the hook.

It writes a bytearray or memoryview as bytes, and an ext object or timestamp of its own as such.
To look at each value costs more than to pack it; to look whether there is any bin or ext object in
the packed bytes costs less.
"""

from __future__ import annotations

import gc
from collections.abc import Collection
from itertools import compress
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
from msgpack import UnpackException

from tune_ckpt.formats.wire import unpacker_of

_DISGUISED = {bytearray, memoryview, msgpack.ExtType, msgpack.Timestamp}

_BIN_AND_EXT = bytes([*range(0xC4, 0xCA), *range(0xD4, 0xD9)])
# How many bytes of length follow these, where they stand for str, array and map; without gaps.
_LENGTH_NBYTES = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_NEVER = 0xC1  # the one byte that begins no object


def may_hold_disguised(packed: bytes) -> bool:
    """Return whether there is a bin or ext object in what was packed, or no telling."""
    if not any(bytes([code]) in packed for code in _BIN_AND_EXT):
        return False
    try:
        unpacker_of(_WithoutBinAndExt(packed), len(packed)).skip()
    except (ValueError, UnpackException):
        return True
    return False


# By byte: what a bin or ext object begins with; and what takes its place.
_MARKED = np.array([byte in _BIN_AND_EXT for byte in range(256)])
_BLANK = bytes(_NEVER if byte in _BIN_AND_EXT else byte for byte in range(256))
_LENGTHS = np.array([*_LENGTH_NBYTES.values()])
_FIRST_SIZED, _LONGEST = min(_LENGTH_NBYTES), max(_LENGTH_NBYTES.values())


class _WithoutBinAndExt:
    """Reads bytes that can be skipped like ``packed``, but not beyond a bin or ext object.

    All bytes that may begin one become the byte that begins nothing. As part of a text or number
    they mean nothing here. As part of a length they do: there the byte before that length goes too,
    so that nobody gets to a length that is wrong.
    """

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._at = 0

    def read(self, nbytes: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        part = self._packed[self._at : self._at + nbytes]
        self._at += len(part)
        behind = self._packed[self._at : self._at + _LONGEST]
        blank = bytearray(part.translate(_BLANK))
        np.frombuffer(blank, np.uint8)[_before_marked_lengths(part, behind)] = _NEVER
        return bytes(blank)


def _before_marked_lengths(part: bytes, behind: bytes) -> npt.NDArray[np.intp]:
    data = np.frombuffer(part + behind + bytes(_LONGEST), np.uint8)
    kind = data[: len(part)] - np.uint8(_FIRST_SIZED)  # wraps around: others are larger
    sized = np.flatnonzero(kind < len(_LENGTHS))
    lengths, marked = _LENGTHS[kind[sized]], np.zeros(sized.size, np.bool_)
    for distance in range(1, _LONGEST + 1):
        marked |= (lengths >= distance) & _MARKED[data[sized + distance]]
    found: npt.NDArray[np.intp] = sized[marked]
    return found


def holds_disguised(values: list[Any], containers: Collection[type]) -> bool:
    """Return whether any of the values, at any depth, is one that is written as something else.

    Args:
        values: The values, which must hold no cycles.
        containers: The types, no subclasses, of what is looked into.
    """
    level = values
    while True:
        types = list(map(type, level))
        kinds = set(types)
        if not _DISGUISED.isdisjoint(kinds):
            return True
        if kinds.isdisjoint(containers):
            return False
        level = gc.get_referents(*compress(level, map(containers.__contains__, types)))
