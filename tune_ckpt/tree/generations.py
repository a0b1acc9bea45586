"""Replacing a checkpoint where no folder can be exchanged: on object stores and at mount points.

The files of a save get names that no other save's have (see `tune_ckpt.tree.layout`), so nothing
of the old checkpoint is written over. The root's ``metadata.json``, written last and in one step,
is the commit. Afterwards the files that only the replaced checkpoint named are deleted.

What may be deleted, where several save at once? What the replaced checkpoint's metadata named: the
others write no such names. A file that no metadata names may belong to a save that is still going
on, and storage cannot tell: it is a leftover only after `ABANDONED_AFTER`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from tune_ckpt.errors import StorageError, TuneCkptError
from tune_ckpt.tree.layout import KNOWN_METADATA, FileNames, role_of
from tune_ckpt.tree.place import Files, Place
from tune_ckpt.tree.reading import named_files, open_tree
from tune_ckpt.tree.storage.folder import ABANDONED_AFTER, TEMPORARY, Entry, Store

_log = logging.getLogger(__name__)


@contextmanager
def new_generation(store: Store, names: Collection[str], kept: Collection[str]) -> Iterator[Place]:
    """Yield where to write a tree; it takes the place of what is at ``store`` as the context ends.

    If the context ends by an error, or never, whatever was there stays as it was.

    Args:
        store: Where the tree shall be; the folder is there.
        names: The names that the tree's files and folders have in it without the save's id.
        kept: Names of components that are the new tree's already, though the old one has such too.

    Raises:
        StorageError: The storage refuses.
    """
    place = Place(store.confined())
    with _plain_names(place, names) as plain:
        place.in_names = not plain
        try:
            yield place
            roots, files = _replaced(place.store, kept)  # as late as possible: we delete these
        except BaseException:
            _delete(place.written)
            raise
        _commit(place)  # from here on, readers may find what was written
        _delete_replaced(place, roots, files)


@contextmanager
def _plain_names(place: Place, names: Collection[str]) -> Iterator[bool]:
    """Yield whether the names without a save's id are free, and ours alone to write."""
    store, flag = place.store, TEMPORARY + place.save
    if not _are_free(store, names):
        yield False
        return
    # Of two first savers each raises its flag before it looks around again, so at least one of
    # them sees the other's, and leaves the plain names alone: they are never written by both.
    store.write_bytes(flag, b"A checkpoint is being saved here.\n")
    try:
        yield _are_free(store, names, flag)
    finally:
        _delete([(store, flag)])


def _are_free(store: Store, names: Collection[str], flag: str = "") -> bool:
    found = [entry.name for entry in store.list() if entry.name != flag]
    return not any(name in names or TEMPORARY in name for name in found)


def _replaced(store: Store, kept: Collection[str]) -> tuple[Collection[str], Files]:
    """Return the root's metadata files and all other files of the checkpoint that is there."""
    try:
        opened = open_tree(store)
    except StorageError:
        raise
    except TuneCkptError:
        # None, another library's, or a damaged one: nothing tells its files but their names.
        found = {entry.name for entry in store.list()}
        roots = found & {*KNOWN_METADATA}
        return roots, [(store, name) for name in found & FileNames().all() if roots]
    return [opened.metadata_file], [*named_files(opened.without(kept))]


def _commit(place: Place) -> None:
    assert place.root is not None
    name, data = place.root
    try:
        place.store.write_bytes(name, data)
    except StorageError:
        # Perhaps it was done, and only the answer was lost.
        if not _holds(place.store, name, data):
            raise
    place.written.append((place.store, name))


def _holds(store: Store, name: str, data: bytes) -> bool:
    try:
        return store.read_bytes(name) == data
    except TuneCkptError:
        return False


def _delete_replaced(place: Place, roots: Collection[str], files: Files) -> None:
    ours = {store.path(name) for store, name in place.written}
    for name in roots:
        if place.store.path(name) not in ours:
            place.store.delete(name)  # or it may count as the root's metadata still
    _delete([(store, name) for store, name in files if store.path(name) not in ours])
    if place.in_names:
        with _harmless():
            _delete(unnamed_files(place.written))


def unnamed_files(files: Files, older_than: float = ABANDONED_AFTER) -> Files:
    """Return what unfinished saves left behind in the folders of a checkpoint.

    Args:
        files: All files of the checkpoint.
        older_than: How many seconds a file must be older than the newest one there. 0 for all of
            them, even where the storage tells no times.
    """
    folders = {store.location: store for store, _ in files}
    found = [(store, entry) for store in folders.values() for entry in store.list()]
    newest = max((entry.mtime or 0.0 for _, entry in found), default=0.0)  # the storage's clock
    named = {store.path(name) for store, name in files}
    roles = {(store.location, role_of(name)) for store, name in files}
    return [
        (store, entry.name)
        for store, entry in found
        if store.path(entry.name) not in named and not entry.is_dir
        if (store.location, role_of(entry.name)) in roles or TEMPORARY in entry.name
        if _is_older(entry, newest - older_than) or older_than <= 0
    ]


def _is_older(entry: Entry, time: float) -> bool:
    return entry.mtime is not None and entry.mtime <= time


def _delete(files: Files) -> None:
    """Delete files as far as the storage lets us; what stays does no harm, and is logged."""
    for store, name in files:
        with _harmless():
            store.delete(name)


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except TuneCkptError as error:
        _log.warning("A leftover stays behind: %s", error)
