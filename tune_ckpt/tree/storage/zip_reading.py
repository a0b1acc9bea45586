"""Reading an archive's directory: nothing it says is believed that does not add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tune_ckpt.errors import CorruptDataError, ForeignArchiveError
from tune_ckpt.formats.io import Source, read_range
from tune_ckpt.tree.storage.zip_format import (
    CENTRAL,
    END,
    END64,
    LOCATOR,
    MANNER,
    MAX16,
    MAX32,
    STORED,
    Member,
    directory_entry,
    end_records,
    local_header,
    objection,
    order,
    place,
)

_ENCRYPTED = 0x0001
_TAIL_NBYTES = 2**16  # read at once: the end, and of most archives the whole directory


def read_members(source: Source) -> list[Member]:
    """Return the files of an archive, in one or two reads at its end.

    What is returned is safe: sizes and places add up to the size of the archive, no two files
    overlap, and no path leads out.

    Raises:
        CorruptDataError: It is not what was written, or no zip file.
        ForeignArchiveError: It is a zip file that another tool made.
    """
    tail_start = max(0, source.nbytes - _TAIL_NBYTES)
    tail = bytes(read_range(source, tail_start, source.nbytes - tail_start))
    count, nbytes, start = _read_end(source, tail)
    if start >= tail_start:
        data = tail[start - tail_start : start - tail_start + nbytes]
    else:
        data = bytes(read_range(source, start, nbytes))
    entries = list(_split(source, data, start))
    if len(entries) != count:
        reason = f"its directory has {len(entries)} entries instead of {count}"
        raise CorruptDataError(source.name, reason, start)
    members = place(_parse(source, *entry) for entry in entries)
    _check(source, members, start)
    for member, (raw, offset) in zip(members, entries, strict=True):
        if raw != directory_entry(member):
            reason = f"the directory does not say of {member.path!r} what it should"
            raise CorruptDataError(source.name, reason, offset)
    return members


def check_header(source: Source, member: Member, found: bytes | bytearray) -> None:
    """Check what precedes a file's data: another tool might believe it, and not the directory.

    Raises:
        CorruptDataError: It differs from what the directory says.
    """
    if found != local_header(member):
        reason = f"the local header of {member.path!r} differs from its entry in the directory"
        raise CorruptDataError(source.name, reason, member.offset)


def _read_end(source: Source, tail: bytes) -> tuple[int, int, int]:
    """Return the number of entries, and the directory's size and offset."""
    end = tail[-END.size :]
    if len(end) < END.size or not end.startswith(b"PK\5\6"):
        reason = "it does not end as an archive does: cut short, appended to, or no zip file"
        raise CorruptDataError(source.name, reason, max(0, source.nbytes - END.size))
    _, _, _, _, count, nbytes, start, _ = END.unpack(end)
    end64 = tail[-END.size - LOCATOR.size - END64.size : -END.size - LOCATOR.size]
    if (count == MAX16 or max(nbytes, start) == MAX32) and len(end64) == END64.size:
        _, _, _, _, _, _, _, count, nbytes, start = END64.unpack(end64)
    expected = end_records(count, nbytes, start) if start + nbytes < 2**63 else b""
    if not expected or start + nbytes + len(expected) != source.nbytes:
        reason = "its end record places the directory elsewhere: cut, prepended or appended to"
        raise CorruptDataError(source.name, reason, source.nbytes - END.size)
    if not tail.endswith(expected):
        reason = "its end record says what no writer says, such as several disks or a comment"
        raise CorruptDataError(source.name, reason, start + nbytes)
    return count, nbytes, start


def _split(source: Source, data: bytes, start: int) -> Iterator[tuple[bytes, int]]:
    """Yield the directory's entries, each with its offset."""
    at = 0
    while at < len(data):
        raw = data[at : at + CENTRAL.size]
        if len(raw) < CENTRAL.size or not raw.startswith(b"PK\1\2"):
            raise CorruptDataError(source.name, "its directory is damaged", start + at)
        raw = data[at : at + CENTRAL.size + sum(CENTRAL.unpack(raw)[10:13])]
        yield raw, start + at
        at += len(raw)


def _parse(source: Source, raw: bytes, offset: int) -> tuple[str, int, int]:
    """Return an entry's path, size and CRC."""
    _, _, _, *manner, crc, packed, nbytes, name_nbytes = CENTRAL.unpack_from(raw)[:11]
    name = raw[CENTRAL.size : CENTRAL.size + name_nbytes]
    if tuple(manner) != MANNER:
        raise ForeignArchiveError(source.name, f"its entry {name!r} is {_described(*manner)}")
    if packed != nbytes:
        reason = f"its entry {name!r} has two sizes, {packed} and {nbytes} bytes"
        raise CorruptDataError(source.name, reason, offset)
    extra = raw[CENTRAL.size + len(name) :]
    if nbytes == MAX32 and len(extra) >= 12:
        nbytes = int.from_bytes(extra[4:12], "little")
    try:
        return name.decode(), nbytes, crc
    except UnicodeDecodeError as error:
        raise CorruptDataError(source.name, f"its entry {name!r} is not UTF-8", offset) from error


def _described(flags: int, method: int, *_: int) -> str:
    if flags & _ENCRYPTED:
        return "encrypted"
    return "compressed" if method != STORED else "stored in another way"


def _check(source: Source, members: Sequence[Member], start: int) -> None:
    """Check that paths lead nowhere else and differ, and that the sizes are true."""
    before = ""
    for member in members:
        reason = objection(member.path) or _misplaced(before, member.path)
        if reason:
            raise CorruptDataError(source.name, f"its entry {member.path!r} is refused: {reason}")
        before = member.path
    end = members[-1].end if members else 0
    if end != start:
        reason = f"its entries would end at byte {end}, but its directory begins at {start}"
        raise CorruptDataError(source.name, f"{reason}: they overlap, or sizes lie", start)


def _misplaced(before: str, path: str) -> str | None:
    if order(path) <= order(before):
        return "it is there twice, or out of order"
    return f"{before!r} is not a folder" if path.startswith(f"{before}/") else None
