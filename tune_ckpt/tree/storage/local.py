"""Storage on the local disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.io import Sink, Source
from tune_ckpt.tree.storage.folder import Entry, Store, reported
from tune_ckpt.tree.storage.leftovers import create_locked, sibling
from tune_ckpt.tree.storage.local_files import LocalSink, LocalSource, clone, link, reserve

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # a pipe would wait for a writer for ever


class LocalStore(Store):
    """A folder on the local disk."""

    def __init__(self, root: Path, top: Path | None = None, *, durable: bool = False) -> None:
        self.root = root
        self.location = str(root)
        self.is_durable = durable
        self._top = top  # no link leads out of it

    @property
    def real_root(self) -> Path:
        """The folder itself: where ``root`` is a link to a checkpoint, the link must stay."""
        return Path(os.path.realpath(self.root))

    def child(self, name: str) -> LocalStore:
        """Return the folder ``name`` below this one."""
        return self.at(self.root / name, self._top)

    def at(self, root: Path, top: Path | None = None) -> LocalStore:
        """Return another folder, to be written in the same manner."""
        return LocalStore(root, top, durable=self.is_durable)

    def durable(self) -> LocalStore:
        """Return this folder such that what is written is on the disk when the call returns."""
        return LocalStore(self.root, self._top, durable=True)

    def confined(self) -> LocalStore:
        """Return this folder such that links within it are not followed out of it.

        The folder itself may be a link. What leads outside is a `CorruptDataError` when it is used.
        """
        return self.at(self.root, self.root)

    def _leads_outside(self, path: Path) -> bool:
        if self._top is None:
            return False
        top = os.path.realpath(self._top)
        return os.path.commonpath([top, os.path.realpath(path)]) != top

    def _inside(self, path: Path) -> Path:
        if self._leads_outside(path):
            raise CorruptDataError(str(path), "it is a link that leads out of the checkpoint")
        return path

    def list(self) -> list[Entry]:
        """Return what is in the folder."""
        root = self._inside(self.root)
        with reported("list", root):
            try:
                with os.scandir(root) as found:
                    entries = [entry for entry in map(_listed, found) if entry]
            except FileNotFoundError:
                return []
        return sorted(entries, key=lambda entry: entry.name)

    def names(self) -> dict[str, bool]:
        """Return the names in the folder, and which of them are folders; no file is looked at."""
        root = self._inside(self.root)
        with reported("list", root):
            try:
                with os.scandir(root) as found:
                    return {entry.name: _is_folder(entry) for entry in found}
            except (FileNotFoundError, NotADirectoryError):
                return {}

    def stat(self, name: str) -> Entry | None:
        """Return the entry ``name``, or None."""
        path = self._inside(self.root / name)
        with reported("look at", path):
            try:
                return _entry(name, path.stat())
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                if error.errno != errno.ELOOP:  # a link that leads to itself
                    raise
                return None

    def make(self) -> None:
        """Create the folder and its parents; it takes the place of a link that leads outside."""
        with reported("create the folder", self.root):
            if self._leads_outside(self.root):
                self.root.unlink()
            missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
            self.root.mkdir(parents=True, exist_ok=True)
        for path in missing:
            self.at(path.parent).sync()

    def sync(self) -> None:
        """Bring the names in the folder to the disk, where durable writing was asked for."""
        if self.is_durable:
            _sync(self.root)

    @contextmanager
    def open(self, name: str) -> Iterator[Source]:
        """Yield the file ``name``; a mapping of it outlives the context."""
        path = self._inside(self.root / name)
        with reported("open", path):
            fd = os.open(path, _READ)
        try:
            yield LocalSource(fd, str(path))
        finally:
            os.close(fd)

    @contextmanager
    def create(self, name: str, nbytes: int) -> Iterator[Sink]:
        """Yield a sink; the file takes its name when it is whole."""
        path = self._inside(self.root) / name
        temporary = sibling(path)
        with reported("create", path):
            fd = create_locked(temporary)
        try:
            with reported("reserve space for", path):
                reserve(fd, nbytes)
            yield LocalSink(fd, str(path))
            with reported("write", path):
                if self.is_durable:
                    os.fsync(fd)  # before the name: a name must not outlive what it stands for
                os.replace(temporary, path)
            self.sync()
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def take(self, name: str, source: Store, source_name: str) -> bool:
        """Clone or link a file of another folder, which no writer of ours ever changes in place."""
        if not isinstance(source, LocalStore):
            return False
        old, new = source._inside(source.root / source_name), self._inside(self.root) / name
        if not (clone(old, new) or link(old, new)):
            return False
        if self.is_durable:
            _sync(new)  # its first writer need not have seen to that
        self.sync()
        return True

    def delete(self, name: str) -> None:
        """Delete the file or folder ``name``; a symbolic link is removed, not followed."""
        path = self._inside(self.root) / name
        with reported("delete", path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with reported("sync", path):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _is_folder(found: os.DirEntry[str]) -> bool:
    try:
        return found.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _listed(found: os.DirEntry[str]) -> Entry | None:
    """Return what a listing found, a link to nothing too; None where it is gone meanwhile."""
    is_link = found.is_symlink()
    try:
        return _entry(found.name, found.stat(), is_link)
    except OSError:
        with suppress(FileNotFoundError):
            return _entry(found.name, found.stat(follow_symlinks=False), is_link)
    return None


def _entry(name: str, found: os.stat_result, is_link: bool = False) -> Entry:
    is_dir = stat.S_ISDIR(found.st_mode)
    return Entry(name, is_dir, 0 if is_dir else found.st_size, is_link, found.st_mtime)
