"""Where bytes live: a local folder, or a folder on any pyarrow filesystem.

A `Store` is one folder. Names in it are single path elements; `Store.child` goes one level down.
Whatever the storage refuses becomes a `StorageError` that names the path and the operation.
"""

from __future__ import annotations

import mmap
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tune_ckpt.errors import StorageError
from tune_ckpt.formats.io import Sink, Source

TEMPORARY = ".tune_ckpt-"  # what the names of our temporary files and folders hold


@dataclass(frozen=True)
class Entry:
    """One name in a folder; ``nbytes`` is 0 for a folder."""

    name: str
    is_dir: bool
    nbytes: int


class Store(ABC):
    """One folder on some storage.

    Attributes:
        location: Its path or URI, for messages.
        filesystem: The pyarrow filesystem it lives on; None for the local disk.
    """

    location: str
    filesystem: Any = None

    @abstractmethod
    def child(self, name: str) -> Store:
        """Return the folder ``name`` below this one, which need not exist."""

    @abstractmethod
    def list(self) -> list[Entry]:
        """Return what is in the folder, sorted by name; nothing where it does not exist."""

    @abstractmethod
    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""

    @abstractmethod
    def make(self) -> None:
        """Create the folder and its parents where they do not exist."""

    @abstractmethod
    def open(self, name: str) -> Any:
        """Return a context manager that yields the file ``name`` as a `Source`."""

    @abstractmethod
    def create(self, name: str, nbytes: int) -> Any:
        """Return a context manager that yields a `Sink` of ``nbytes`` for the file ``name``.

        The file appears under its name, whole, when the context ends without an error.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete the file or folder ``name`` where it exists."""

    def exists(self, name: str) -> bool:
        """Say whether there is a file or folder ``name``."""
        return self.stat(name) is not None

    def path(self, name: str) -> str:
        """Return the full path of ``name``, for messages."""
        return f"{self.location.rstrip('/')}/{name}"

    def read_bytes(self, name: str) -> bytes:
        """Return the content of the file ``name``.

        Raises:
            StorageError: There is no such file, or it cannot be read.
        """
        with self.open(name) as source:
            buffer = bytearray(source.nbytes)
            source.read_into(0, memoryview(buffer))
        return bytes(buffer)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write the file ``name`` in one piece."""
        with self.create(name, len(data)) as sink:
            sink.write_at(0, data)


@contextmanager
def _reported(operation: str, path: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise StorageError(str(path), operation, reason) from error


# ---------------------------------------------------------------------------------- local disk


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
            with _reported("read", self.name):
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
            with _reported("write", self._name):
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
        with _reported("list", self.root):
            try:
                with os.scandir(self.root) as found:
                    entries = [
                        Entry(e.name, e.is_dir(), 0 if e.is_dir() else e.stat().st_size)
                        for e in found
                    ]
            except FileNotFoundError:
                return []
        return sorted(entries, key=lambda entry: entry.name)

    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""
        with _reported("look at", self.root / name):
            try:
                found = (self.root / name).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        is_dir = (self.root / name).is_dir()
        return Entry(name, is_dir, 0 if is_dir else found.st_size)

    def make(self) -> None:
        """Create the folder and its parents."""
        with _reported("create the folder", self.root):
            self.root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def open(self, name: str) -> Iterator[Source]:
        """Yield the file ``name``; a mapping of it outlives the context."""
        path = self.root / name
        with _reported("open", path):
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
        with _reported("create", path):
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with _reported("reserve space for", path):
                _reserve(fd, nbytes)
            yield _LocalSink(fd, str(path))
            with _reported("write", path):
                os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def delete(self, name: str) -> None:
        """Delete the file or folder ``name``; a symbolic link is removed, not followed."""
        path = self.root / name
        with _reported("delete", path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _reserve(fd: int, nbytes: int) -> None:
    # Finds a full disk before the first byte is written, and keeps the file in one piece.
    if nbytes and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, nbytes)


# ---------------------------------------------------------------------- any pyarrow filesystem


class _ArrowSource:
    chunk_nbytes = 2**23

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self.name = name
        self.nbytes: int = file.size()

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        wanted = sum(buffer.nbytes for buffer in buffers)
        with _reported("read", self.name):
            data = memoryview(self._file.read_at(wanted, offset))  # one request; thread-safe
        if data.nbytes != wanted:
            raise StorageError(self.name, "read", f"it ended at byte {offset + data.nbytes}")
        for buffer in buffers:
            buffer[:] = data[: buffer.nbytes]
            data = data[buffer.nbytes :]

    def mapped(self) -> memoryview | None:
        return None


class _ArrowSink:
    random_access = False

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name

    def write_at(self, offset: int, buffer: bytes | memoryview) -> None:
        with _reported("write", self._name):
            self._stream.write(buffer)


class ArrowStore(Store):
    """A folder on a pyarrow filesystem: S3, GCS, HDFS, fsspec, a subtree of another."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self.filesystem = filesystem
        self._root = root.rstrip("/")
        self.location = f"{filesystem.type_name}://{self._root}"

    @property
    def root(self) -> str:
        """The folder's path within the filesystem."""
        return self._root

    def child(self, name: str) -> ArrowStore:
        """Return the folder ``name`` below this one."""
        return ArrowStore(self.filesystem, f"{self._root}/{name}")

    def list(self) -> list[Entry]:
        """Return what is in the folder."""
        from pyarrow import fs

        selector = fs.FileSelector(self._root, allow_not_found=True)
        with _reported("list", self.location):
            infos = self.filesystem.get_file_info(selector)
        entries = [_entry(info) for info in infos]
        return sorted(entries, key=lambda entry: entry.name)

    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""
        from pyarrow import fs

        with _reported("look at", self.path(name)):
            info = self.filesystem.get_file_info(f"{self._root}/{name}")
        return None if info.type == fs.FileType.NotFound else _entry(info)

    def make(self) -> None:
        """Create the folder and its parents (object stores have none and ignore it)."""
        with _reported("create the folder", self.location):
            self.filesystem.create_dir(self._root, recursive=True)

    @contextmanager
    def open(self, name: str) -> Iterator[Source]:
        """Yield the file ``name``, read by ranges."""
        with _reported("open", self.path(name)):
            file = self.filesystem.open_input_file(f"{self._root}/{name}")
        with file:
            yield _ArrowSource(file, self.path(name))

    @contextmanager
    def create(self, name: str, nbytes: int) -> Iterator[Sink]:
        """Yield a sink that streams; object stores show the file when it is whole."""
        with _reported("create", self.path(name)):
            stream = self.filesystem.open_output_stream(f"{self._root}/{name}")
        try:
            yield _ArrowSink(stream, self.path(name))
        except BaseException:
            # Closing would publish a file cut short; what storage does with an abandoned stream
            # is its own business, and metadata.json is not there yet.
            del stream
            raise
        with _reported("write", self.path(name)):
            stream.close()

    def delete(self, name: str) -> None:
        """Delete the file or folder ``name`` where it exists."""
        entry = self.stat(name)
        if entry is None:
            return
        remove = self.filesystem.delete_dir if entry.is_dir else self.filesystem.delete_file
        with _reported("delete", self.path(name)):
            remove(f"{self._root}/{name}")


def _entry(info: Any) -> Entry:
    return Entry(info.base_name, not info.is_file, info.size or 0)


# ------------------------------------------------------------------------------ from a path


def open_store(path: Any, filesystem: Any = None) -> Store:
    """Return the folder at ``path``, which need not exist.

    Args:
        path: A local path, a URI (``file://``, ``s3://``, ``gs://``...), or an object that has
            ``path`` and ``filesystem`` (``ray.tune.Checkpoint``, ``ray.train.Checkpoint``).
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
    """
    if hasattr(path, "filesystem") and hasattr(path, "path"):
        path, filesystem = path.path, path.filesystem
    text = os.fspath(path)
    if filesystem is None and "://" in text:
        filesystem, text = _from_uri(text)
    if filesystem is None or getattr(filesystem, "type_name", "") == "local":
        return LocalStore(Path(text).absolute())
    return ArrowStore(filesystem, text)


def _from_uri(uri: str) -> tuple[Any, str]:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return None, unquote(parts.path)
    from pyarrow import fs

    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise StorageError(uri, "open", str(error)) from error
    return filesystem, path
