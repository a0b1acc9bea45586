"""A checkpoint as one file, and back to a folder.

An archive is a zip file whose entries are stored as they are, aligned for mapping; what it looks
like in detail is told in `tune_ckpt.tree.storage.zip_format`. Every reader of this package opens a
path that ends in ``.zip`` and is a file like a folder (`tune_ckpt.tree.storage.store.open_store`).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.formats.io import Sink
from tune_ckpt.tree.apart import check_apart
from tune_ckpt.tree.copying import TreeFile, to_be_copied, tree_files
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.leftovers import remove_leftovers
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tree.storage.store import address_of, open_parent, open_store
from tune_ckpt.tree.storage.zip_format import (
    Member,
    check_paths,
    directory,
    local_header,
    order,
    place,
)
from tune_ckpt.tree.storage.zip_store import SUFFIX
from tune_ckpt.tree.writing import write_tree


def archive(src: Any, dst: str | os.PathLike[str], *, filesystem: Any = None) -> str:
    """Make a single-file checkpoint: a zip file that is read in place, without being unpacked.

    >>> path = archive("checkpoint", "model.zip")
    >>> load_state("model.zip", mmap=True)["step"]
    7

    The file takes its name when it is whole. Equal checkpoints give equal bytes, but for what their
    metadata tells of when and where they were saved. Files in the folder that do not belong to the
    checkpoint are left out.

    Args:
        src: The checkpoint: a local path, a URI, or a Ray Checkpoint. It is verified while it is
            copied (towards remote storage it is read twice, first to verify it).
        dst: The archive's path or URI, which ends in ``.zip``. An older file there is replaced.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both paths are to be looked up.

    Returns:
        The archive's path.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint.
        CorruptDataError: A file of the checkpoint is not what was written.
        InvalidArgumentError: The archive's name does not end in ``.zip``, or it is the checkpoint,
            or in it.
        InvalidNameError: A component's path cannot be in an archive.
        StorageError: The storage refuses. An older file is untouched on local disk; a remote one
            may be lost, for pyarrow cannot abandon what it has begun to write.
    """
    folder, name = open_parent(dst, filesystem)
    if not name.lower().endswith(SUFFIX):
        raise InvalidArgumentError("dst", os.fspath(dst), [f"a name that ends in {SUFFIX}"])
    opened = open_tree(open_store(src, filesystem))
    check_apart("dst", folder.child(name), opened.store)
    files = list(tree_files(opened))
    check_paths(file.path for file in files)
    files.sort(key=lambda file: order(file.path))
    # A stream takes a header, and so the CRC in it, before the data.
    crcs = [0 if folder.filesystem is None else _copied(file, None) for file in files]
    members = place((file.path, file.nbytes, crc) for file, crc in zip(files, crcs, strict=True))
    folder.make()
    if isinstance(folder, LocalStore):
        remove_leftovers(folder.root / name)
    with folder.create(name, members[-1].end + len(directory(members))) as sink:
        _write(sink, members, files)
    return address_of(dst, filesystem)


def is_archive_name(path: Any) -> bool:
    """Say whether what is written to that path is to be a single file."""
    return isinstance(path, str | os.PathLike) and str(os.fspath(path)).lower().endswith(SUFFIX)


def check_no_archive(argument: str, path: Any) -> None:
    """Refuse the name of a single file for what only a folder can be.

    Args:
        argument: What the caller's argument for it is called.
        path: Where it is to be written.

    Raises:
        InvalidArgumentError: It is such a name.
    """
    if is_archive_name(path):
        why = "only what tune_ckpt writes for itself can be a single file"
        raise InvalidArgumentError(argument, os.fspath(path), ("a folder's path",), why)


def extract(src: Any, dst: str | os.PathLike[str], *, filesystem: Any = None) -> str:
    """Copy a checkpoint, file by file, into a folder: the way back from an archive.

    Args:
        src: The checkpoint, verified while it is copied: an archive or another folder.
        dst: The new checkpoint's path or URI; it replaces whatever checkpoint is there, in one
            step.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both paths are to be looked up.

    Returns:
        The new checkpoint's path.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint.
        CorruptDataError: A file is not what was written; an older checkpoint is untouched.
        ForeignArchiveError: It is a zip file that another tool made.
        InvalidArgumentError: The folder is the checkpoint, or in it.
        StorageError: The storage refuses.
    """
    opened = open_tree(open_store(src, filesystem))
    check_apart("dst", open_store(dst, filesystem), opened.store)
    return write_tree(to_be_copied(opened), dst, filesystem=filesystem).path


class _Data:
    """Takes the bytes of one file, in order, to their place in the archive (None: nowhere)."""

    random_access = False

    def __init__(self, sink: Sink | None, start: int = 0) -> None:
        self._sink = sink
        self._start = start
        self.crc = 0

    def write_at(self, offset: int, buffer: bytes | memoryview) -> None:
        """Count bytes into the checksum, and write them at their place in the archive."""
        self.crc = zlib.crc32(buffer, self.crc)
        if self._sink is not None:
            self._sink.write_at(self._start + offset, buffer)


def _copied(file: TreeFile, sink: Sink | None, start: int = 0) -> int:
    """Copy a file to ``start`` of a sink and return its CRC."""
    data = _Data(sink, start)
    file.copy(data)
    return data.crc


def _write(sink: Sink, members: Sequence[Member], files: Sequence[TreeFile]) -> None:
    written = []
    for member, file in zip(members, files, strict=True):
        if not sink.random_access:
            sink.write_at(member.offset, local_header(member))
        member = replace(member, crc=_copied(file, sink, member.data_offset))
        if sink.random_access:
            sink.write_at(member.offset, local_header(member))
        written.append(member)
    sink.write_at(written[-1].end, directory(written))
