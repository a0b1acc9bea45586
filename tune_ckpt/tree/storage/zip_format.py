"""A single-file checkpoint as bytes: a zip file of which every byte is determined.

An archive is an ordinary zip file (PKWARE's APPNOTE 6.3): any zip tool lists, tests and unpacks it.
Of the many ways to write one, exactly one is allowed, so that equal checkpoints give equal bytes,
and a reader can compare instead of believing: from the names, sizes and CRCs of its entries follows
every other byte. Whatever differs was altered, or made by another tool, and is refused.

Integers are little-endian. The file begins with its first entry and ends with the end record,
without gaps, and nothing precedes, follows or overlaps::

    each file of the tree, sorted by the UTF-8 bytes of its path (``model/state.msgpack``), where
    ``/`` counts as 0:
        local file header    version needed 20 (45 where zip64 is needed), flags 0x0800 (UTF-8),
                             method 0 (stored), time 0, date 0x0021 (1980-01-01), CRC-32, sizes,
                             lengths of path and extra fields
        path
        extra field 0x0001   only for 2^32 - 1 bytes or more (zip64): the size, twice
        extra field 0xA11E   alignment: uint16 64, then as many zeros as are needed (0 to 63) for
                             the data to begin on a multiple of 64 bytes
        data                 as it is in the folder
    central directory, one entry a file, in the same order:
        header               version made by 0x0314 (Unix; 0x032D for zip64), then as above; comment
                             length, disk and internal attributes 0; external attributes 0o100644
                             << 16; offset of the local file header
        path
        extra field 0x0001   what of size (twice) and offset is 2^32 - 1 or more
    zip64 end record and its locator, only where the next record cannot hold the numbers
    end of central directory, without a comment

There are no entries for folders, and no path is the folder of another one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tune_ckpt.errors import InvalidNameError

ALIGNMENT = 64
LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")

STORED = 0
MANNER = (0x0800, STORED, 0, 0x0021)  # flags (UTF-8), method, time, date (1980-01-01)
_UNIX = 3 << 8
_PLAIN_FILE = 0o100644 << 16
_ZIP64_FIELD, _ALIGNMENT_FIELD = 0x0001, 0xA11E
MAX16, MAX32 = 2**16 - 1, 2**32 - 1  # as a field's value: the number stands in a zip64 field
_MAX_PATH_NBYTES = 4096  # as on disk


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive.

    Attributes:
        path: Its path in the checkpoint, ``/`` between levels.
        nbytes: The size of its data.
        crc: The CRC-32 of its data.
        offset: Where its local header begins.
    """

    path: str
    nbytes: int
    crc: int
    offset: int

    @property
    def data_offset(self) -> int:
        """Where its data begins."""
        end = self.offset + LOCAL.size + len(self.path.encode())
        end += len(_zip64_field(_large(self.nbytes, self.nbytes))) + 6
        return end + -end % ALIGNMENT

    @property
    def end(self) -> int:
        """Where its data ends."""
        return self.data_offset + self.nbytes


def place(files: Iterable[tuple[str, int, int]]) -> list[Member]:
    """Return where the files lie, given as path, size and CRC-32 in the order of their paths."""
    members: list[Member] = []
    offset = 0
    for path, nbytes, crc in files:
        members.append(Member(path, nbytes, crc, offset))
        offset = members[-1].end
    return members


def order(path: str) -> bytes:
    """Return what files are sorted by: a folder's follow at once whatever has the folder's name."""
    return path.replace("/", "\0").encode()


def objection(path: str) -> str | None:
    """Return why an archive cannot hold a file of that path, or None where it can."""
    try:
        if len(path.encode()) > _MAX_PATH_NBYTES:
            return f"it is longer than {_MAX_PATH_NBYTES} bytes"
    except UnicodeEncodeError:
        return "it cannot be written as UTF-8"
    if any(character == "\\" or ord(character) < 32 for character in path):
        return "it holds a backslash or a control character"
    if any(part in ("", ".", "..") or part[1:2] == ":" for part in path.split("/")):
        return "it leads out of the archive"
    return None


def check_paths(paths: Iterable[str]) -> None:
    """Check that an archive can hold files of these paths.

    Raises:
        InvalidNameError: It cannot.
    """
    for path in paths:
        reason = objection(path)
        if reason:
            raise InvalidNameError(path, f"in an archive, {reason}")


def local_header(member: Member) -> bytes:
    """Return what precedes a file's data."""
    path, large = member.path.encode(), _large(member.nbytes, member.nbytes)
    zip64 = _zip64_field(large)
    room = member.data_offset - member.offset - LOCAL.size - len(path) - len(zip64) - 4
    extra = zip64 + struct.pack("<3H", _ALIGNMENT_FIELD, room, ALIGNMENT).ljust(4 + room, b"\0")
    fields = (_needed(large), *_common(member), len(path), len(extra))
    return LOCAL.pack(b"PK\3\4", *fields) + path + extra


def directory(members: Sequence[Member]) -> bytes:
    """Return what follows the last file's data: the central directory and the end records."""
    entries = b"".join(map(directory_entry, members))
    return entries + end_records(len(members), len(entries), members[-1].end if members else 0)


def directory_entry(member: Member) -> bytes:
    """Return what the directory says of a file."""
    path, large = member.path.encode(), _large(member.nbytes, member.nbytes, member.offset)
    extra, needed = _zip64_field(large), _needed(large)
    fields = (_UNIX + needed, needed, *_common(member), len(path), len(extra))
    rest = (0, 0, 0, _PLAIN_FILE, min(member.offset, MAX32))
    return CENTRAL.pack(b"PK\1\2", *fields, *rest) + path + extra


def _common(member: Member) -> tuple[int, ...]:
    size = min(member.nbytes, MAX32)
    return *MANNER, member.crc, size, size


def _large(*numbers: int) -> list[int]:
    return [number for number in numbers if number >= MAX32]


def _needed(large: Sequence[int]) -> int:
    return 45 if large else 20


def _zip64_field(large: Sequence[int]) -> bytes:
    return struct.pack(f"<2H{len(large)}Q", _ZIP64_FIELD, 8 * len(large), *large) if large else b""


def end_records(count: int, nbytes: int, start: int) -> bytes:
    """Return what follows a directory of that many entries and bytes, which begins at ``start``."""
    in16, in32 = min(count, MAX16), (min(nbytes, MAX32), min(start, MAX32))
    end = END.pack(b"PK\5\6", 0, 0, in16, in16, *in32, 0)
    if in16 < MAX16 and max(in32) < MAX32:
        return end
    end64 = END64.pack(
        b"PK\6\6", END64.size - 12, _UNIX + 45, 45, 0, 0, count, count, nbytes, start
    )
    return end64 + LOCATOR.pack(b"PK\6\7", 0, start + nbytes, 1) + end
