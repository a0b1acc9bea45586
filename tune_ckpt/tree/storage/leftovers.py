"""What killed writers leave behind on the local disk, and living ones still need.

Whatever is being written has a name like ``.model.tune_ckpt-1f00ba42`` and is locked: a lock dies
with its process. Where the disk has no locks (some network file systems), age decides instead.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_ckpt.tree.storage.folder import ABANDONED_AFTER, TEMPORARY, reported

OLD = "old"  # instead of the digits: what is moved aside between two renames
_LEFTOVER = re.compile(
    rf"\.(?P<name>.+){re.escape(TEMPORARY)}(?P<id>[0-9a-f]{{8}}|{OLD})", re.DOTALL
)

_log = logging.getLogger(__name__)


def sibling(path: Path, suffix: str | None = None) -> Path:
    """Return a temporary name beside ``path``; by default one that nobody else has."""
    return path.parent / f".{path.name}{TEMPORARY}{suffix or uuid.uuid4().hex[:8]}"


# -------------------------------------------------------------------------------- while it is used


def create_locked(path: Path) -> int:
    """Create a file, and return its descriptor, which holds its lock."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if _is_ours(fd):
            return fd


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Create a folder, and hold its lock."""
    with reported("create the folder", folder):
        fd = _create_locked_folder(folder)
    try:
        yield
    finally:
        os.close(fd)


def _create_locked_folder(path: Path) -> int:
    while True:
        path.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another writer took it for a leftover
            fd = os.open(path, os.O_RDONLY)
            if _is_ours(fd):
                return fd


def _is_ours(fd: int) -> bool:
    """Lock a new file or folder; before that, another writer may have removed it as a leftover."""
    _lock(fd, fcntl.LOCK_EX)
    if os.fstat(fd).st_nlink:
        return True
    os.close(fd)
    return False


def _lock(fd: int, operation: int) -> bool | None:
    """Lock a descriptor; return whether it is locked now, or None where there are no locks."""
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


# ------------------------------------------------------------------------------------ afterwards


def remove_leftovers(path: Path) -> list[Path]:
    """Delete what killed writers left beside ``path``; return what went. Mends a swap cut short."""
    try:
        beside = [entry.path for entry in os.scandir(path.parent) if TEMPORARY in entry.name]
    except OSError:
        return []  # not there, or not to be looked at
    found = [Path(text) for text in beside if _original(Path(text)) == path]
    return [leftover for leftover in found if remove_leftover(leftover)]


def remove_leftover(path: Path) -> bool:
    """Delete a file or folder if it is a killed writer's; say whether it was deleted."""
    original = _original(path)
    if original is None:
        return False
    if path == sibling(original, OLD):
        return _settle(path, original)
    return _remove_abandoned(path)


def _original(path: Path) -> Path | None:
    found = _LEFTOVER.fullmatch(path.name)
    return path.with_name(found[1]) if found else None


def _settle(old: Path, original: Path) -> bool:
    """End a swap by two renames that was interrupted."""
    if not original.exists():
        with reported("rename", old), suppress(FileNotFoundError):  # another one's work by now
            os.rename(old, original)
        return False
    return _delete(old)


def _remove_abandoned(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False  # gone meanwhile, or not ours to touch
    try:
        locked = _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_old = os.fstat(fd).st_mtime < time.time() - ABANDONED_AFTER
        if locked is False or (locked is None and not is_old):
            return False
        return _delete(path)  # while it is locked, or its writer might just begin
    finally:
        os.close(fd)


def _delete(path: Path) -> bool:
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        if path.exists():  # and no other writer has deleted it meanwhile
            _log.warning("A leftover stays behind: %s", error)
            return False
    return True
