"""Replacing a checkpoint in one step, so that a reader finds the old one or the new one.

Local disk: the new tree is written in a hidden folder beside the old one and takes its place by one
rename or exchange. Other storage has no such step: there ``metadata.json``, written last, is the
commit.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_ckpt.errors import StorageError
from tune_ckpt.tree.folder import reported
from tune_ckpt.tree.store import TEMPORARY, LocalStore, Store


@contextmanager
def replacing(store: Store, owned: Callable[[Store], Collection[str]]) -> Iterator[Store]:
    """Yield a folder to write a tree into; it takes the place of ``store`` when the context ends.

    If the context ends by an error, or never, whatever was at ``store`` stays as it was.

    Args:
        store: Where the tree shall be.
        owned: Tells which names in a folder belong to the checkpoint there. All others are carried
            over into the new folder.

    Raises:
        StorageError: The storage refuses.
    """
    if not isinstance(store, LocalStore) or not _can_stage(store.root):
        store.make()
        yield store
        return
    _undo_interrupted_swap(store.root)
    remove_leftovers(store.root)
    staging = _sibling(store.root, uuid.uuid4().hex[:8])
    with _held(staging):
        try:
            yield LocalStore(staging)
            _carry_over(store, staging, owned)
            _swap(staging, store.root)
        except OSError as error:
            raise StorageError(str(store.root), "replace", error.strerror or str(error)) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _sibling(root: Path, suffix: str) -> Path:
    return root.parent / f".{root.name}{TEMPORARY}{suffix}"


def _can_stage(root: Path) -> bool:
    # A mount point cannot be exchanged, and some parents cannot be written: then files are
    # written in place, each by a rename, metadata.json last.
    with reported("create the folder", root.parent):
        root.parent.mkdir(parents=True, exist_ok=True)
    return os.access(root.parent, os.W_OK | os.X_OK) and not os.path.ismount(root)


@contextmanager
def _held(staging: Path) -> Iterator[None]:
    # A lock that dies with its process tells a folder in use from one that was left behind.
    fd = _locked_folder(staging)
    try:
        yield
    finally:
        os.close(fd)


def _locked_folder(path: Path) -> int:
    with reported("create the folder", path):
        while True:
            path.mkdir(exist_ok=True)
            fd = os.open(path, os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Before it was locked, another writer may have removed it as a leftover.
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)


def remove_leftovers(root: Path) -> list[Path]:
    """Delete what killed writers left beside ``root``, and return it."""
    found = root.parent.glob(f".{_escaped(root.name)}{TEMPORARY}*")
    kept = _sibling(root, "old")
    return [path for path in found if path != kept and path.is_dir() and _remove_abandoned(path)]


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _remove_abandoned(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False  # gone meanwhile, or not ours to touch
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return False  # its writer lives
    shutil.rmtree(path, ignore_errors=True)  # while locked, or its writer might just begin
    os.close(fd)
    return True


def _carry_over(
    store: LocalStore, staging: Path, owned: Callable[[Store], Collection[str]]
) -> None:
    ours = owned(store)
    for entry in store.list():
        target = staging / entry.name
        if entry.name in ours or TEMPORARY in entry.name or target.exists():
            continue
        source = store.root / entry.name
        if entry.is_dir and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy)
        else:
            _link_or_copy(source, target)


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
    old = _sibling(root, "old")
    shutil.rmtree(old, ignore_errors=True)
    os.rename(root, old)  # from here to the next rename, readers look for it under this name
    os.rename(staging, root)
    shutil.rmtree(old, ignore_errors=True)


def settled(store: Store) -> Store:
    """Return where the checkpoint of ``store`` is: elsewhere only in the middle of a swap."""
    if isinstance(store, LocalStore) and not store.root.exists():
        old = _sibling(store.root, "old")
        if old.exists():
            return LocalStore(old)
    return store


def _undo_interrupted_swap(root: Path) -> None:
    old = _sibling(root, "old")
    if old.exists() and not root.exists():
        os.rename(old, root)
