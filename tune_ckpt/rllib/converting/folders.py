"""Folders that are to be written: first gathered whole, then put into place at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tune_ckpt.errors import Fault, StorageError
from tune_ckpt.formats.packed import Buffers
from tune_ckpt.tree.staging import filling
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_store


@dataclass
class Folder:
    """A folder to be written: metadata last."""

    files: dict[str, bytes | Buffers] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)
    children: dict[str, Folder] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Folder:
        """Return what is in a local folder."""
        entries = sorted(path.iterdir())
        return cls(
            files={entry.name: entry.read_bytes() for entry in entries if entry.is_file()},
            children={entry.name: cls.read(entry) for entry in entries if entry.is_dir()},
        )


def open_empty(path: Any, filesystem: Any, what_for: str) -> Store:
    """Open a folder that is to be written.

    Args:
        path: Where it is to be.
        filesystem: A ``pyarrow.fs.FileSystem`` in which that is to be looked up.
        what_for: What is wanted of it, for the message.

    Raises:
        StorageError: There is something in it.
    """
    target = open_store(path, filesystem)
    if target.list():
        raise StorageError(target.location, what_for, "the folder is not empty")
    return target


def write(target: Store, folder: Folder) -> None:
    """Write a folder with all below it; on a local disk all of it or nothing."""
    with filling(target) as store:
        add(store, folder)


def add(store: Store, folder: Folder) -> None:
    """Write a folder's files, one by one, among those that are there."""
    store.make()
    for name, child in folder.children.items():
        add(store.child(name), child)
    for name, data in (*folder.files.items(), *folder.metadata.items()):
        if isinstance(data, bytes):
            store.write_bytes(name, data)
        else:
            with store.create(name, data.nbytes) as sink:
                data.write(sink)


def below(path: str, faults: Iterable[Fault]) -> list[Fault]:
    """Return faults of a part of a checkpoint as faults of the whole."""
    return [Fault(path + fault.path, fault.reason) for fault in faults]
