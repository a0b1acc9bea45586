"""Replacing a checkpoint on the local disk: a reader finds the old one or the new one.

The new tree is written in a hidden folder beside the old one, and takes its place by one rename or
exchange. Where there is no such step, it is done as told in `tune_ckpt.tree.generations`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

from tune_ckpt.errors import StorageError
from tune_ckpt.tree.layout import has_name_of_ours
from tune_ckpt.tree.place import Place
from tune_ckpt.tree.storage.folder import TEMPORARY, Store
from tune_ckpt.tree.storage.leftovers import OLD, held, remove_leftovers, sibling
from tune_ckpt.tree.storage.local import LocalStore

_LONGEST_NAME_NBYTES = 255


def can_stage(store: Store) -> TypeGuard[LocalStore]:
    """Say whether a folder beside ``store`` can take its place."""
    if not isinstance(store, LocalStore):
        return False
    root = store.real_root
    # A mount point cannot be exchanged, nor the folder in which this process works; some parents
    # cannot be written, and some names are so long that nothing can be added.
    parent = next((path for path in root.parents if os.path.exists(path)), root)
    writable = os.access(parent, os.W_OK | os.X_OK)
    name_nbytes = len(os.fsencode(sibling(root).name))
    is_in_use = os.path.ismount(root) or _is_working_folder(root)
    return writable and not is_in_use and name_nbytes <= _LONGEST_NAME_NBYTES


def _is_working_folder(root: Path) -> bool:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was deleted
        return False
    return root == here or root in here.parents


@contextmanager
def staging(store: LocalStore, owned: Callable[[Store], Collection[str]]) -> Iterator[Place]:
    """Yield a folder to write a tree into; it takes the place of ``store`` when the context ends.

    If the context ends by an error, or never, whatever was at ``store`` stays as it was.

    Args:
        store: Where the tree shall be.
        owned: Tells which paths in a folder belong to the checkpoint there. What has another is
            carried over into the new folder.

    Raises:
        StorageError: The storage refuses.
    """
    root = store.real_root
    store.at(root.parent).make()
    remove_leftovers(root)
    folder = sibling(root)
    with held(folder):
        try:
            new = store.at(folder)
            yield (place := Place(new))
            if place.root:
                new.write_bytes(*place.root)
            old = store.at(root)
            _carry_over(old, folder, owned(old))
            new.sync()
            _swap(folder, root)
            store.at(root.parent).sync()
        except OSError as error:
            raise StorageError(str(root), "replace", error.strerror or str(error)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def filling(store: Store) -> Iterator[Store]:
    """Yield where to write what shall be in an empty folder; on a local disk it appears whole.

    Raises:
        StorageError: The storage refuses.
    """
    if can_stage(store):
        with staging(store, lambda _: ()) as place:
            yield place.store
    else:
        yield store


def _carry_over(store: LocalStore, target: Path, owned: Collection[str], above: str = "") -> None:
    for entry in store.list():
        path, source, place = above + entry.name, store.root / entry.name, target / entry.name
        is_folder = entry.is_dir and not source.is_symlink()
        if path in owned and is_folder:
            _carry_over(store.child(entry.name), place, owned, f"{path}/")
        if path in owned or TEMPORARY in entry.name or place.exists():
            continue
        if above and has_name_of_ours(entry.name):
            continue  # what a damaged component has left
        target.mkdir(parents=True, exist_ok=True)
        if is_folder:
            shutil.copytree(source, place, symlinks=True, copy_function=_link_or_copy)
        else:
            _link_or_copy(source, place)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


# ------------------------------------------------------------------------------------ the swap

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _swap(staging: Path, root: Path) -> None:
    """Put ``staging`` at ``root``; what was there is at ``staging`` afterwards, if anything."""
    if root.exists():
        shutil.copymode(root, staging)
    try:
        os.rename(staging, root)  # onto nothing, or onto an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(staging, root):
            _two_renames(staging, root)


def _exchange(first: Path, second: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    one, two = os.fsencode(first), os.fsencode(second)
    if libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, two, _RENAME_EXCHANGE) == 0:
        return True
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(second))


def _two_renames(staging: Path, root: Path) -> None:
    old = sibling(root, OLD)
    shutil.rmtree(old, ignore_errors=True)
    os.rename(root, old)  # from here to the next rename, readers look for it under this name
    os.rename(staging, root)
    shutil.rmtree(old, ignore_errors=True)


def settled(store: Store) -> Store:
    """Return where the checkpoint of ``store`` is: elsewhere only in the middle of a swap."""
    if isinstance(store, LocalStore) and not store.root.exists():
        old = sibling(store.real_root, OLD)
        if old.exists():
            return LocalStore(old)
    return store
