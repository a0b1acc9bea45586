"""Files on the local disk: read and written at their offsets, mapped, cloned and linked."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from pathlib import Path

from tune_ckpt.errors import StorageError
from tune_ckpt.tree.storage import traffic
from tune_ckpt.tree.storage.folder import reported


class LocalSource:
    """A file that is read at any place, or mapped."""

    chunk_nbytes = 2**18  # hashed while it is in the processor's cache

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name
        self.nbytes = os.fstat(fd).st_size

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        """Fill the buffers one after another, beginning at byte ``offset``."""
        for buffer in buffers:
            self._fill(offset, buffer)
            offset += buffer.nbytes

    def _fill(self, offset: int, buffer: memoryview) -> None:
        while buffer.nbytes:
            with reported("read", self.name):
                count = os.preadv(self._fd, [buffer], offset)
            if not count:
                raise StorageError(self.name, "read", f"it ended at byte {offset} while being read")
            traffic.tell(count)
            buffer = buffer[count:]
            offset += count

    def mapped(self, offset: int = 0, nbytes: int | None = None) -> memoryview | None:
        """Return a private mapping of a range; it outlives the source."""
        nbytes = self.nbytes - offset if nbytes is None else nbytes
        if not nbytes:
            return memoryview(bytearray())
        skipped = offset % mmap.ALLOCATIONGRANULARITY
        try:
            pages = mmap.mmap(
                self._fd, skipped + nbytes, access=mmap.ACCESS_COPY, offset=offset - skipped
            )
        except (OSError, ValueError) as error:  # ValueError: the file has become shorter
            raise StorageError(self.name, "map", str(error)) from error
        return memoryview(pages)[skipped:]


class LocalSink:
    """A file that is written at any place, by several threads."""

    random_access = True

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name

    def write_at(self, offset: int, buffer: bytes | memoryview) -> None:
        """Write the buffer at byte ``offset``."""
        view = memoryview(buffer)
        while view.nbytes:
            with reported("write", self._name):
                count = os.pwrite(self._fd, view, offset)
            traffic.tell(count)
            view = view[count:]
            offset += count


# What file systems answer that cannot; some C libraries then write zeros instead, others do not.
_CANNOT_RESERVE = {errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP}


def reserve(fd: int, nbytes: int) -> None:
    """Reserve a file's space, where the file system can: a full disk shows before any writing."""
    if not nbytes or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(fd, 0, nbytes)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


_FICLONE = 0x40049409


def clone(old: Path, new: Path) -> bool:
    """Make a copy that shares the old file's blocks on the disk, where the file system can."""
    try:
        with old.open("rb") as source, new.open("xb") as target:
            try:
                fcntl.ioctl(target, _FICLONE, source.fileno())
            except OSError:
                new.unlink()
                raise
    except OSError:
        return False
    return True


def link(old: Path, new: Path) -> bool:
    """Give a file a second name, where the file system can."""
    try:
        os.link(old, new, follow_symlinks=True)
    except OSError:
        return False
    return True
