"""Setting things aside: renamed into a folder ``set_aside`` beside them, never deleted."""

from __future__ import annotations

import os
from itertools import count

from tune_ckpt.tree.storage.folder import reported
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tree.storage.store import Store

ASIDE = "set_aside"


def set_aside(folder: Store, name: str) -> str:
    """Move a file or folder into ``set_aside`` beside it, and return its new path.

    Args:
        folder: The folder it is in.
        name: Its name there.

    Raises:
        StorageError: The storage refuses.
    """
    target = folder.child(ASIDE)
    names = (name if number == 0 else f"{name}.{number}" for number in count())
    free = next(new for new in names if not target.exists(new))
    target.make()
    with reported("set aside", folder.path(name)):
        _rename(folder, name, target, free)
    return target.path(free)


def put_back(folder: Store, name: str, aside: str) -> None:
    """Undo `set_aside`; what has been written under that name since then is deleted.

    Args:
        folder: The folder it was in.
        name: Its name there.
        aside: Where it is, as `set_aside` has told.

    Raises:
        StorageError: The storage refuses.
    """
    folder.delete(name)
    with reported("put back", aside):
        _rename(folder.child(ASIDE), aside.rpartition("/")[2], folder, name)


def _rename(folder: Store, name: str, target: Store, new_name: str) -> None:
    if isinstance(folder, LocalStore) and isinstance(target, LocalStore):
        os.rename(folder.root / name, target.root / new_name)
    else:
        _move(folder, name, target, new_name)


def _move(folder: Store, name: str, target: Store, new_name: str) -> None:
    """Move by names: object stores have no folders, and rename single objects only."""
    entry = folder.stat(name)
    if entry is not None and entry.is_dir:
        for below in folder.child(name).list():
            _move(folder.child(name), below.name, target.child(new_name), below.name)
        folder.delete(name)
        return
    target.make()
    target.write_bytes(new_name, folder.read_bytes(name))
    folder.delete(name)
