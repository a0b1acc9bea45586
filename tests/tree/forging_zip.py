"""Zip files that `tune_ckpt.archive` would never write, made with its own parts."""

import zlib
from dataclasses import replace

from tune_ckpt.tree.storage.zip_format import directory_entry, end_records, local_header, place


def zipped(files, alter=lambda members: members, alter_local=lambda member: member):
    """Return an archive of the files, given as path and bytes.

    Args:
        files: Written in this order, whatever their paths.
        alter: Changes the members that the directory tells of.
        alter_local: Changes the member that a local header tells of.
    """
    members = place((path, len(data), zlib.crc32(data)) for path, data in files)
    parts = [
        local_header(alter_local(member)) + data
        for member, (_, data) in zip(members, files, strict=True)
    ]
    return b"".join(parts) + told(alter(members), members[-1].end if members else 0)


def told(members, start):
    """Return a directory of the members at byte ``start``, whatever it says of them."""
    entries = b"".join(map(directory_entry, members))
    return entries + end_records(len(members), len(entries), start)


def each(**fields):
    """Return an `alter` that gives every member other fields."""
    return lambda members: [replace(member, **fields) for member in members]
