"""What storage is to the rest of the package: a folder of named files, read by ranges.

A `Store` is one folder. Names in it are single path elements; `Store.child` goes one level down.
Whatever the storage refuses becomes a `StorageError` that names the path and the operation. The
kinds of storage are `tune_ckpt.tree.storage.local`, `tune_ckpt.tree.storage.arrow` and, to be read
only, `tune_ckpt.tree.storage.zip_store`; `tune_ckpt.tree.storage.store` opens the one that a path
means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import StorageError, TuneCkptError
from tune_ckpt.formats.io import Sink, Source

TEMPORARY = ".tune_ckpt-"  # what the names of our temporary files and folders hold
ABANDONED_AFTER = 24 * 3600.0  # seconds, more than any save takes


@dataclass(frozen=True)
class Entry:
    """One name in a folder.

    Attributes:
        name: The name.
        is_dir: Whether it is a folder.
        nbytes: The file's size; 0 for a folder.
        is_link: Whether it is a link; the other fields describe what it leads to.
        mtime: When it was written, by the storage's clock; None where that is not known.
    """

    name: str
    is_dir: bool
    nbytes: int
    is_link: bool = False
    mtime: float | None = None


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

    def confined(self) -> Store:
        """Return this folder such that nothing outside of it is reached by links within it."""
        return self  # most storage has no links

    def durable(self) -> Store:
        """Return this folder such that what is written survives a loss of power at once."""
        return self  # most storage keeps what it has confirmed

    @abstractmethod
    def list(self) -> list[Entry]:
        """Return what is in the folder, sorted by name; nothing where it does not exist."""

    def names(self) -> dict[str, bool]:
        """Return the names in the folder, and of each whether it is a folder; cheaper than `list`.

        There are none where the folder does not exist.
        """
        return {entry.name: entry.is_dir for entry in self.list()}

    @abstractmethod
    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""

    @abstractmethod
    def make(self) -> None:
        """Create the folder and its parents where they do not exist."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[Source]:
        """Return a context manager that yields the file ``name``."""

    @abstractmethod
    def create(self, name: str, nbytes: int) -> AbstractContextManager[Sink]:
        """Return a context manager that yields what takes the file ``name``, of that size.

        The file appears under its name, whole, when the context ends without an error; only on
        remote storage that is not an object store, it grows under its name.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete the file or folder ``name`` where it exists."""

    def take(self, name: str, source: Store, source_name: str) -> bool:
        """Make ``name`` the same file as another folder's, without moving its bytes, if possible.

        Returns:
            Whether that was possible; where not, nothing has changed.
        """
        return False

    def exists(self, name: str) -> bool:
        """Say whether there is a file or folder ``name``."""
        return self.stat(name) is not None

    def total_nbytes(self) -> int:
        """Return the size of all files in the folder and below; links lead nowhere."""
        return sum(
            self.child(entry.name).total_nbytes() if entry.is_dir else entry.nbytes
            for entry in self.list()
            if not (entry.is_dir and entry.is_link)
        )

    def path(self, name: str) -> str:
        """Return the full path of ``name``, for messages."""
        return f"{self.location}{'' if self.location.endswith('/') else '/'}{name}"

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
        """Write the file ``name`` in one step: readers find the old one or the new one."""
        with self.create(name, len(data)) as sink:
            sink.write_at(0, data)


@contextmanager
def reported(operation: str, path: object) -> Iterator[None]:
    """Turn what the storage refuses into a `StorageError`.

    Filesystems written in Python raise whatever their libraries do, not only OSError.
    """
    try:
        yield
    except TuneCkptError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise StorageError(str(path), operation, reason) from error
