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

from tune_ckpt.formats.wire import streamed

_DISGUISED = {bytearray, memoryview, msgpack.ExtType, msgpack.Timestamp}

_BIN_AND_EXT = bytes([*range(0xC4, 0xCA), *range(0xD4, 0xD9)])
# How many bytes of length follow these bytes, where they stand for str, array and map.
_LENGTH_NBYTES = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_NEVER = 0xC1  # the one byte that begins no object


def may_hold_disguised(packed: bytes) -> bool:
    """Return whether there is a bin or ext object in what was packed, or no telling."""
    if not any(bytes([code]) in packed for code in _BIN_AND_EXT):
        return False
    try:
        streamed(_without_bin_and_ext(packed)).skip()
    except (ValueError, UnpackException):
        return True
    return False


# By byte: 1 for the beginning of a bin or ext object; for the others, 1 + the bytes of length.
_MARKS = bytes(
    1 if byte in _BIN_AND_EXT else 1 + _LENGTH_NBYTES.get(byte, -1) for byte in range(256)
)
_BLANK = bytes(_NEVER if byte in _BIN_AND_EXT else byte for byte in range(256))


def _without_bin_and_ext(packed: bytes) -> bytearray:
    """Return bytes that can be skipped like ``packed``, but not beyond a bin or ext object.

    All bytes that may begin one become the byte that begins nothing. As part of a text or number
    they mean nothing here. As part of a length they do: there the byte before that length goes too,
    so that nobody gets to a length that is wrong.
    """
    marks = np.frombuffer(packed.translate(_MARKS) + bytes(4), np.uint8)
    blank = bytearray(packed.translate(_BLANK))
    np.frombuffer(blank, np.uint8)[_before_altered_lengths(marks)] = _NEVER
    return blank


def _before_altered_lengths(marks: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    sized = np.flatnonzero(marks > 1)
    altered = np.zeros(sized.size, np.bool_)
    for distance in range(1, 5):
        altered |= (marks[sized] > distance) & (marks[sized + distance] > 0)
    found: npt.NDArray[np.intp] = sized[altered]
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
