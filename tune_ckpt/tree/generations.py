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
from dataclasses import dataclass

from tune_ckpt.errors import StorageError, TuneCkptError
from tune_ckpt.tree.commit import Place
from tune_ckpt.tree.layout import KNOWN_METADATA, FileNames, role_of
from tune_ckpt.tree.reading import named_files, open_tree
from tune_ckpt.tree.storage.folder import ABANDONED_AFTER, TEMPORARY, Entry, Store

_log = logging.getLogger(__name__)

Files = list[tuple[Store, str]]


@contextmanager
def new_generation(store: Store, names: Collection[str], kept: Collection[str]) -> Iterator[Place]:
    """Yield where to write a tree that takes the place of what is at ``store`` by its commit.

    If there is no commit, whatever was there stays as it was.

    Args:
        store: Where the tree shall be.
        names: The names that the tree's files and folders have in it without the save's id.
        kept: Names of components that are the new tree's already, though the old one has such too.

    Raises:
        StorageError: The storage refuses.
    """
    place = _Generation(store.confined(), kept=kept)
    place.store.make()
    with _plain_names(place, names) as plain:
        place.in_names = not plain
        try:
            yield place
        except BaseException:
            if not place.tried:
                _delete(place.written)
            raise


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


@dataclass
class _Generation(Place):
    kept: Collection[str] = ()
    tried: bool = False

    def commit(self, metadata_file: str, data: bytes) -> None:
        """Make the tree that was written the one that readers find."""
        roots, files = self._replaced()  # as late as possible: this is what we delete
        self.tried = True  # from here on, readers may find what was written
        self._publish(metadata_file, data)
        for name in roots:
            if name != metadata_file:
                self.store.delete(name)  # or it may count as the root's metadata still
        self.written.append((self.store, metadata_file))
        ours = {store.path(name) for store, name in self.written}
        _delete([(store, name) for store, name in files if store.path(name) not in ours])
        if self.in_names:
            with _harmless():
                _delete(unnamed_files(self.written))

    def _replaced(self) -> tuple[Collection[str], Files]:
        """Return the root's metadata files and all other files of the checkpoint that is there."""
        try:
            opened = open_tree(self.store)
        except StorageError:
            raise
        except TuneCkptError:
            # None, another library's, or a damaged one: nothing tells its files but their names.
            found = {entry.name for entry in self.store.list()}
            roots = found & {*KNOWN_METADATA}
            return roots, [(self.store, name) for name in found & FileNames().all() if roots]
        return [opened.metadata_file], [*named_files(opened.without(self.kept))]

    def _publish(self, metadata_file: str, data: bytes) -> None:
        try:
            self.store.write_bytes(metadata_file, data)
        except StorageError:
            # Perhaps it was done, and only the answer was lost.
            if not self._holds(metadata_file, data):
                raise

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.store.read_bytes(name) == data
        except TuneCkptError:
            return False


def unnamed_files(files: Files, older_than: float | None = None) -> Files:
    """Return what unfinished saves left behind in the folders of a checkpoint.

    Args:
        files: All files of the checkpoint.
        older_than: How many seconds a file must be older than the newest one there; by default
            `ABANDONED_AFTER`. 0 for all of them, even where the storage tells no times.
    """
    age = ABANDONED_AFTER if older_than is None else older_than
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
        if _is_older(entry, newest - age) or age <= 0
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
