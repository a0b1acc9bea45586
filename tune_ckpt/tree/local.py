"""Storage on the local disk."""

from __future__ import annotations

import mmap
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_ckpt.errors import StorageError
from tune_ckpt.formats.io import Sink, Source
from tune_ckpt.tree.folder import TEMPORARY, Entry, Store, reported


def _entry(found: os.DirEntry[str]) -> Entry:
    is_dir = found.is_dir()
    return Entry(found.name, is_dir, 0 if is_dir else found.stat().st_size, found.is_symlink())


class _LocalSource:
    chunk_nbytes = 2**18  # hashed while it is in the processor's cache

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name
        self.nbytes = os.fstat(fd).st_size

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        for buffer in buffers:
            self._fill(offset, buffer)
            offset += buffer.nbytes

    def _fill(self, offset: int, buffer: memoryview) -> None:
        while buffer.nbytes:
            with reported("read", self.name):
                count = os.preadv(self._fd, [buffer], offset)
            if not count:
                raise StorageError(self.name, "read", f"it ended at byte {offset} while being read")
            buffer = buffer[count:]
            offset += count

    def mapped(self) -> memoryview | None:
        if not self.nbytes:
            return memoryview(bytearray())
        return memoryview(mmap.mmap(self._fd, 0, access=mmap.ACCESS_COPY))


class _LocalSink:
    random_access = True

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    def write_at(self, offset: int, buffer: bytes | memoryview) -> None:
        view = memoryview(buffer)
        while view.nbytes:
            with reported("write", self._name):
                count = os.pwrite(self._fd, view, offset)
            view = view[count:]
            offset += count


class LocalStore(Store):
    """A folder on the local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = str(root)

    def child(self, name: str) -> LocalStore:
        """Return the folder ``name`` below this one."""
        return LocalStore(self.root / name)

    def list(self) -> list[Entry]:
        """Return what is in the folder."""
        with reported("list", self.root):
            try:
                with os.scandir(self.root) as found:
                    entries = [_entry(one) for one in found]
            except FileNotFoundError:
                return []
        return sorted(entries, key=lambda entry: entry.name)

    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""
        with reported("look at", self.root / name):
            try:
                found = (self.root / name).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        is_dir = (self.root / name).is_dir()
        return Entry(name, is_dir, 0 if is_dir else found.st_size)

    def make(self) -> None:
        """Create the folder and its parents."""
        with reported("create the folder", self.root):
            self.root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def open(self, name: str) -> Iterator[Source]:
        """Yield the file ``name``; a mapping of it outlives the context."""
        path = self.root / name
        with reported("open", path):
            fd = os.open(path, os.O_RDONLY)
        try:
            yield _LocalSource(fd, str(path))
        finally:
            os.close(fd)

    @contextmanager
    def create(self, name: str, nbytes: int) -> Iterator[Sink]:
        """Yield a sink; the file takes its name when it is whole."""
        path = self.root / name
        temporary = self.root / f".{name}{TEMPORARY}{uuid.uuid4().hex[:8]}"
        with reported("create", path):
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with reported("reserve space for", path):
                _reserve(fd, nbytes)
            yield _LocalSink(fd, str(path))
            with reported("write", path):
                os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def delete(self, name: str) -> None:
        """Delete the file or folder ``name``; a symbolic link is removed, not followed."""
        path = self.root / name
        with reported("delete", path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _reserve(fd: int, nbytes: int) -> None:
    # Finds a full disk before the first byte is written, and keeps the file in one piece.
    if nbytes and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, nbytes)
