"""Storage on any pyarrow filesystem: S3, GCS, HDFS, fsspec, a subtree of another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tune_ckpt.errors import StorageError
from tune_ckpt.formats.io import Sink, Source
from tune_ckpt.tree.folder import Entry, Store, reported


class _ArrowSource:
    chunk_nbytes = 2**23

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self.name = name
        self.nbytes: int = file.size()

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        wanted = sum(buffer.nbytes for buffer in buffers)
        with reported("read", self.name):
            data = memoryview(self._file.read_at(wanted, offset))  # one request; thread-safe
        if data.nbytes != wanted:
            raise StorageError(self.name, "read", f"it ended at byte {offset + data.nbytes}")
        for buffer in buffers:
            buffer[:] = data[: buffer.nbytes]
            data = data[buffer.nbytes :]

    def mapped(self, offset: int = 0, nbytes: int | None = None) -> memoryview | None:
        return None


class _ArrowSink:
    random_access = False

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name

    def write_at(self, offset: int, buffer: bytes | memoryview) -> None:
        with reported("write", self._name):
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
        with reported("list", self.location):
            infos = self.filesystem.get_file_info(selector)
        entries = [_entry(info) for info in infos]
        return sorted(entries, key=lambda entry: entry.name)

    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""
        from pyarrow import fs

        with reported("look at", self.path(name)):
            info = self.filesystem.get_file_info(f"{self._root}/{name}")
        return None if info.type == fs.FileType.NotFound else _entry(info)

    def make(self) -> None:
        """Create the folder and its parents (object stores have none and ignore it)."""
        if not self._root:
            return
        with reported("create the folder", self.location):
            self.filesystem.create_dir(self._root, recursive=True)

    @contextmanager
    def open(self, name: str) -> Iterator[Source]:
        """Yield the file ``name``, read by ranges."""
        with reported("open", self.path(name)):
            file = self.filesystem.open_input_file(f"{self._root}/{name}")
        with file:
            yield _ArrowSource(file, self.path(name))

    @contextmanager
    def create(self, name: str, nbytes: int) -> Iterator[Sink]:
        """Yield a sink that streams; object stores show the file when it is whole."""
        with reported("create", self.path(name)):
            stream = self.filesystem.open_output_stream(f"{self._root}/{name}")
        try:
            yield _ArrowSink(stream, self.path(name))
        except BaseException:
            # pyarrow cannot abandon a stream: it would publish a file cut short when it is
            # collected. Where closing fails, an object store still shows the older file, if any.
            with suppress(OSError):
                stream.close()
                self.filesystem.delete_file(f"{self._root}/{name}")
            raise
        with reported("write", self.path(name)):
            stream.close()

    def delete(self, name: str) -> None:
        """Delete the file or folder ``name`` where it exists."""
        entry = self.stat(name)
        if entry is None:
            return
        remove = self.filesystem.delete_dir if entry.is_dir else self.filesystem.delete_file
        with reported("delete", self.path(name)):
            remove(f"{self._root}/{name}")


def _entry(info: Any) -> Entry:
    return Entry(info.base_name, not info.is_file, info.size or 0)
