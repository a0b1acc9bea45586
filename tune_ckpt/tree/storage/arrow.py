"""Storage on any pyarrow filesystem: S3, GCS, HDFS, fsspec, a subtree of another."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from tune_ckpt.errors import StorageError
from tune_ckpt.formats.io import Sink, Source
from tune_ckpt.tree.storage import retrying, traffic
from tune_ckpt.tree.storage.arrow_files import ArrowSink, ArrowSource
from tune_ckpt.tree.storage.folder import TEMPORARY, Entry, Store, reported

# They have no folders, and a file appears when its upload is complete.
_OBJECT_STORES = {"s3", "gcs", "abfs"}

_log = logging.getLogger(__name__)


class ArrowStore(Store):
    """A folder on a pyarrow filesystem: S3, GCS, HDFS, fsspec, a subtree of another."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self.filesystem = filesystem
        self._root = root.rstrip("/")
        self._prefix = f"{self._root}/" if root else ""  # above a bucket there is no folder
        self._is_object_store = filesystem.type_name in _OBJECT_STORES
        self.location = f"{filesystem.type_name}://{self._root}"

    @property
    def root(self) -> str:
        """The folder's path within the filesystem."""
        return self._root

    def _at(self, name: str) -> str:
        return self._prefix + name

    def child(self, name: str) -> ArrowStore:
        """Return the folder ``name`` below this one."""
        return ArrowStore(self.filesystem, self._at(name))

    def list(self) -> list[Entry]:
        """Return what is in the folder."""
        from pyarrow import fs

        selector = fs.FileSelector(self._root, allow_not_found=True)
        with reported("list", self.location):
            infos = retrying.RETRY.call(lambda: self.filesystem.get_file_info(selector))
        return sorted(map(_entry, infos), key=lambda entry: entry.name)

    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""
        from pyarrow import fs

        path = self._at(name)
        with reported("look at", self.path(name)):
            info = retrying.RETRY.call(lambda: self.filesystem.get_file_info(path))
        return None if info.type == fs.FileType.NotFound else _entry(info)

    def make(self) -> None:
        """Create the folder and its parents, where there are folders."""
        if self._root and not self._is_object_store:
            with reported("create the folder", self.location):
                retrying.RETRY.call(lambda: self.filesystem.create_dir(self._root, recursive=True))

    @contextmanager
    def open(self, name: str) -> Iterator[Source]:
        """Yield the file ``name``, read by ranges."""
        path = self._at(name)
        source = ArrowSource(lambda: self.filesystem.open_input_file(path), self.path(name))
        try:
            yield source
        finally:
            source.close()

    @contextmanager
    def create(self, name: str, nbytes: int) -> Iterator[Sink]:
        """Yield a sink that streams; object stores show the file when it is whole."""
        path = self._at(name)
        with reported("create", self.path(name)):
            stream = retrying.RETRY.call(lambda: self.filesystem.open_output_stream(path))
        try:
            yield ArrowSink(stream, self.path(name))
            with reported("write", self.path(name)):
                stream.close()
        except BaseException:
            self._discard(stream, name)
            raise

    def _discard(self, stream: Any, name: str) -> None:
        # A stream cannot be abandoned, https://github.com/apache/arrow/issues/40502: its end
        # publishes a file cut short, which must go again.
        try:
            with reported("discard", self.path(name)):
                stream.close()
        except StorageError as error:
            _log.debug("%s", error)
        self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            self.delete(name)
        except StorageError as error:
            _log.warning("An unfinished file stays behind: %s", error)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write the file ``name`` in one step: readers find the old one or the new one."""
        if not self._is_object_store:
            return self._write_and_move(name, data)
        # In a thread that no KeyboardInterrupt can reach between the beginning and the end.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._put, name, data).result()

    def _put(self, name: str, data: bytes) -> None:
        path = self._at(name)
        with reported("write", self.path(name)):
            stream = retrying.RETRY.call(lambda: self.filesystem.open_output_stream(path))
            stream.write(data)
            stream.close()
        traffic.tell(len(data))

    def _write_and_move(self, name: str, data: bytes) -> None:
        temporary = f".{name}{TEMPORARY}{uuid.uuid4().hex[:8]}"
        with self.create(temporary, len(data)) as sink:
            sink.write_at(0, data)
        try:
            with reported("write", self.path(name)):
                self.filesystem.move(self._at(temporary), self._at(name))
        except BaseException:
            self._remove(temporary)
            raise

    def take(self, name: str, source: Store, source_name: str) -> bool:
        """Let the storage itself copy a file."""
        if not isinstance(source, ArrowStore) or not self.filesystem.equals(source.filesystem):
            return False
        old, new = source._at(source_name), self._at(name)
        try:
            with reported("copy", self.path(name)):
                retrying.RETRY.call(lambda: self.filesystem.copy_file(old, new))
        except StorageError as error:  # S3 copies no file over 5 GiB, some storage none at all
            _log.info("It is written instead: %s", error)
            return False
        copied, wanted = self.stat(name), source.stat(source_name)
        return copied is not None and wanted is not None and copied.nbytes == wanted.nbytes

    def delete(self, name: str) -> None:
        """Delete the file or folder ``name`` where it exists."""
        entry = self.stat(name)
        if entry is None:
            return
        remove = self.filesystem.delete_dir if entry.is_dir else self.filesystem.delete_file

        def attempt() -> None:
            """Delete the file, if it is there still."""
            with suppress(FileNotFoundError):  # another one's work, or an earlier attempt's
                remove(self._at(name))

        with reported("delete", self.path(name)):
            retrying.RETRY.call(attempt)


def _entry(info: Any) -> Entry:
    mtime = None if info.mtime_ns is None else info.mtime_ns / 1e9
    return Entry(info.base_name, not info.is_file, info.size or 0, mtime=mtime)
