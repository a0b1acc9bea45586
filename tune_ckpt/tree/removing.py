"""Deleting a checkpoint as a whole, and what killed writers left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tune_ckpt.errors import (
    CorruptDataError,
    IncompleteCheckpointError,
    NotACheckpointError,
)
from tune_ckpt.tree.generations import unnamed_files
from tune_ckpt.tree.reading import OpenComponent, named_files, open_tree, owned_paths
from tune_ckpt.tree.staging import can_stage, staging
from tune_ckpt.tree.storage.folder import ABANDONED_AFTER, Store
from tune_ckpt.tree.storage.leftovers import remove_leftover, remove_leftovers
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tree.storage.store import open_parent, open_store
from tune_ckpt.tree.storage.zip_store import ZipStore


def delete_checkpoint(path: Any, *, filesystem: Any = None) -> None:
    """Delete a checkpoint, be it a folder or one file; what else is in its folder stays.

    It is there until it is gone: whoever is killed in between leaves no half of it that could be
    taken for a checkpoint.

    Args:
        path: A local path, a URI, or a Ray Checkpoint.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Raises:
        NotACheckpointError: There is none.
        CorruptDataError, IncompleteCheckpointError: It is damaged or unfinished, and the storage is
            remote: only its metadata tells which files are its own. Or it is a damaged archive.
        ForeignArchiveError: It is a zip file that another tool made.
        StorageError: The storage refuses.
    """
    store = open_store(path, filesystem)
    if isinstance(store, ZipStore):
        open_tree(store)  # or it is another tool's
        folder, name = open_parent(path, filesystem)
        folder.delete(name)
    elif can_stage(store):
        _delete_staged(store)
    else:
        _delete_by_names(open_tree(store))


def _delete_staged(store: LocalStore) -> None:
    with suppress(CorruptDataError, IncompleteCheckpointError):  # they can be deleted all the same
        open_tree(store)
    with staging(store, owned_paths):
        pass  # a folder without the checkpoint takes its place
    with suppress(OSError):  # what else is in it stays
        store.real_root.rmdir()


def _delete_by_names(opened: OpenComponent) -> None:
    files, folders = [*named_files(opened)], [*_folders(opened)]
    opened.store.delete(opened.metadata_file)  # first: without it, there is no checkpoint
    for store, name in files:
        store.delete(name)
    for parent, folder in folders:
        if not parent.child(folder).list():
            parent.delete(folder)


def _folders(opened: OpenComponent) -> Iterator[tuple[Store, str]]:
    """Yield the folders of subcomponents, the deepest first."""
    for name, record in opened.metadata.components.items():
        yield from _folders(opened.child(name))
        yield opened.store, record.folder


def clean(
    path: Any, *, older_than_secs: float = ABANDONED_AFTER, filesystem: Any = None
) -> list[str]:
    """Delete what killed writers left behind: beside a checkpoint, in it, and in all below it.

    Only files and folders with names that no one else gives are looked at. On the local disk what
    a living process still writes is locked, and stays. Saving cleans up before it begins; this is
    for checkpoints that nobody will write again.

    Args:
        path: A checkpoint, a trial's folder or an experiment's: a local path or a URI.
        older_than_secs: Where there are no locks (object stores, some network file systems), how
            much older a file must be than the newest one beside it. With 0 all of them go, which is
            safe only while nobody saves there.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Returns:
        The paths of what was deleted.

    Raises:
        StorageError: The storage refuses.
    """
    store = open_store(path, filesystem)
    removed = []
    if isinstance(store, LocalStore):
        root = store.real_root
        found = [*remove_leftovers(root), *_remove_below(root)]
        removed += [str(leftover) for leftover in found]
    for folder, name in _unnamed_below(store, older_than_secs):
        folder.delete(name)
        removed.append(folder.path(name))
    return removed


def _remove_below(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if remove_leftover(Path(folder, name)):
                yield Path(folder, name)


def _unnamed_below(store: Store, older_than: float) -> Iterator[tuple[Store, str]]:
    try:
        opened = open_tree(store)
    except (CorruptDataError, IncompleteCheckpointError):
        return  # nothing tells what is whose
    except NotACheckpointError:
        for entry in store.list():
            if entry.is_dir and not entry.is_link:  # a link may lead back up
                yield from _unnamed_below(store.child(entry.name), older_than)
        return
    files = [*named_files(opened), (opened.store, opened.metadata_file)]
    yield from unnamed_files(files, older_than)
