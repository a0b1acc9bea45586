"""A walk over a pickle's opcodes that makes nothing: what the unpickler must not be given.

Python's unpickler trusts two kinds of numbers in a pickle: it makes room for as many memos as an
opcode says, whatever the size of the file; and it hands out what this process registered as an
extension without asking anybody.
"""

from __future__ import annotations

import pickle
import pickletools
from dataclasses import dataclass


@dataclass(frozen=True)
class Scan:
    """What a walk found.

    Attributes:
        end: Where the pickle ends: the offset behind it.
        extensions: The codes of ``copyreg``'s registry that it uses, each once.
    """

    end: int
    extensions: tuple[int, ...]


# An opcode's size with its argument; 0 if that depends on the argument, or it needs a check.
_SIZES = [0] * 256
# How many bytes hold an argument's length, and how many lines an argument has.
_LENGTH_NBYTES: dict[int, int] = {}
_LINES: dict[int, int] = {}
_EXTENSIONS = {pickle.EXT1[0]: 1, pickle.EXT2[0]: 2, pickle.EXT4[0]: 4}
_PUT, _LONG_PUT, _STOP = pickle.PUT[0], pickle.LONG_BINPUT[0], pickle.STOP[0]


def _fill_tables() -> None:
    counted = {
        pickletools.TAKEN_FROM_ARGUMENT1: 1,
        pickletools.TAKEN_FROM_ARGUMENT4: 4,
        pickletools.TAKEN_FROM_ARGUMENT4U: 4,
        pickletools.TAKEN_FROM_ARGUMENT8U: 8,
    }
    for opcode in pickletools.opcodes:
        code, nbytes = ord(opcode.code), opcode.arg.n if opcode.arg else 0
        if nbytes in counted:
            _LENGTH_NBYTES[code] = counted[nbytes]
        elif nbytes < 0:
            _LINES[code] = 2 if opcode.name in ("GLOBAL", "INST") else 1
        elif code not in (*_EXTENSIONS, _LONG_PUT, _STOP):
            _SIZES[code] = 1 + nbytes


_fill_tables()


def scan(data: bytes, start: int = 0) -> Scan:
    """Walk over one pickle.

    Args:
        data: The bytes that hold it.
        start: Where it begins.

    Raises:
        ValueError: It is not a whole pickle, or would take memory out of all proportion.
    """
    extensions: dict[int, None] = {}
    position = start
    try:
        while True:
            code = data[position]
            size = _SIZES[code]
            if size:
                position += size
            elif code in _LENGTH_NBYTES:
                body = position + 1 + _LENGTH_NBYTES[code]
                position = body + int.from_bytes(data[position + 1 : body], "little")
            elif code in _LINES:
                position = _behind_lines(data, position, _LINES[code])
            elif code == _LONG_PUT:
                _check_memo(int.from_bytes(data[position + 1 : position + 5], "little"), data)
                position += 5
            elif code in _EXTENSIONS:
                behind = position + 1 + _EXTENSIONS[code]
                extensions[int.from_bytes(data[position + 1 : behind], "little")] = None
                position = behind
            elif code == _STOP:
                return Scan(position + 1, tuple(extensions))
            else:
                raise ValueError(f"byte {position} is not an opcode")
    except IndexError:
        raise ValueError("it is cut short") from None


def _behind_lines(data: bytes, position: int, count: int) -> int:
    end = position
    for _ in range(count):
        end = data.find(b"\n", end + 1)
        if end < 0:
            raise ValueError("it is cut short")
    if data[position] == _PUT:
        _check_memo(int(data[position + 1 : end]), data)
    return end + 1


def _check_memo(number: int, data: bytes) -> None:
    if not 0 <= number <= len(data):
        raise ValueError(f"it has a memo number {number}, more than it has bytes")
