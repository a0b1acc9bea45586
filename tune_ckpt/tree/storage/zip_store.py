"""An archive as a folder that can only be read: ranged and mapped reading work inside it.

`zip_format` describes the file; `tune_ckpt.tree.archive` makes it.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NoReturn, Protocol, cast

from tune_ckpt.errors import StorageError
from tune_ckpt.formats.io import Source
from tune_ckpt.tree.storage.folder import Entry, Store
from tune_ckpt.tree.storage.zip_format import Member, order
from tune_ckpt.tree.storage.zip_reading import check_header, read_members

SUFFIX = ".zip"  # what an archive's name ends in, in small letters or capitals


class _File(Source, Protocol):
    def mapped(self, offset: int = 0, nbytes: int | None = None) -> memoryview | None:
        """Return part of it as memory, where that can be."""


class _Archive:
    """One zip file. It stays open, so replacing it does not disturb a reader."""

    def __init__(self, folder: Store, name: str) -> None:
        self.folder = folder
        self.name = name

    @cached_property
    def file(self) -> _File:
        """The archive, open for as long as this lives."""
        context = self.folder.open(self.name)
        file = cast(_File, context.__enter__())
        weakref.finalize(self, context.__exit__, None, None, None)
        return file

    @cached_property
    def members(self) -> dict[str, Member]:
        """The files in it, by their paths."""
        return {member.path: member for member in read_members(self.file)}

    @cached_property
    def paths(self) -> list[str]:
        """The paths of the files in it."""
        return list(self.members)

    def below(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files in a folder (which ends in ``/``, or is empty)."""
        first = bisect_left(self.paths, order(folder), key=order)
        for number in range(first, len(self.paths)):
            if not self.paths[number].startswith(folder):
                return
            yield self.paths[number]


class _Part:
    """One file within the zip file; what precedes its data there is checked at the first use."""

    def __init__(self, file: _File, member: Member, name: str) -> None:
        self._file = file
        self._member = member
        self._checked = False
        self.name = name
        self.nbytes = member.nbytes
        self.chunk_nbytes = file.chunk_nbytes

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        """Fill buffers from a place on; what was not checked before is checked."""
        if offset + sum(buffer.nbytes for buffer in buffers) > self.nbytes:
            raise StorageError(self.name, "read", f"it ends at byte {self.nbytes}")
        if offset == 0 and not self._checked:
            self._check(*buffers)
            return
        if not self._checked:
            self._check()
        self._file.read_into(self._member.data_offset + offset, *buffers)

    def mapped(self) -> memoryview | None:
        """Return the file as part of the mapped archive, where that can be."""
        if not self._checked:
            self._check()
        return self._file.mapped(self._member.data_offset, self.nbytes)

    def _check(self, *buffers: memoryview) -> None:
        """Check the header; the request for it brings the data's beginning along."""
        header = bytearray(self._member.data_offset - self._member.offset)
        self._file.read_into(self._member.offset, memoryview(header), *buffers)
        check_header(self._file, self._member, header)
        self._checked = True


class ZipStore(Store):
    """A folder in an archive."""

    def __init__(self, archive: _Archive, folder: str = "") -> None:
        self._archive = archive
        self._folder = folder
        self.filesystem = archive.folder.filesystem
        self.location = f"{archive.folder.path(archive.name)}/{folder}".rstrip("/")

    @classmethod
    def open_file(cls, folder: Store, name: str) -> ZipStore:
        """Return the root folder of the archive ``name``; nothing is read before it is used."""
        return cls(_Archive(folder, name))

    def child(self, name: str) -> ZipStore:
        """Return the folder ``name`` below this one."""
        return ZipStore(self._archive, f"{self._folder}{name}/")

    def list(self) -> list[Entry]:
        """Return what is in the folder.

        Raises:
            CorruptDataError, ForeignArchiveError: The archive is not what was written.
        """
        start = len(self._folder)
        names = {path[start:].partition("/")[0] for path in self._archive.below(self._folder)}
        return [entry for name in sorted(names) if (entry := self.stat(name))]

    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""
        path = self._folder + name
        if path in self._archive.members:
            return Entry(name, False, self._archive.members[path].nbytes)
        is_folder = next(self._archive.below(f"{path}/"), None) is not None
        return Entry(name, True, 0) if is_folder else None

    @contextmanager
    def open(self, name: str) -> Iterator[Source]:
        """Yield the file ``name``, read by ranges of the zip file."""
        member = self._archive.members.get(self._folder + name)
        if member is None:
            raise StorageError(self.path(name), "open", "there is no such file in the archive")
        yield _Part(self._archive.file, member, self.path(name))

    def make(self) -> None:
        """Refuse to create the folder."""
        self._refuse()

    def create(self, name: str, nbytes: int) -> NoReturn:
        """Refuse to write."""
        self._refuse()

    def delete(self, name: str) -> None:
        """Refuse to delete."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StorageError(
            self.location,
            "write into",
            "an archive is never changed. Write into a folder (tune_ckpt.extract makes one of "
            "an archive), then make a new archive of it with tune_ckpt.archive",
        )
