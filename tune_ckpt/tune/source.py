"""A checkpoint of a running sweep, as a job finds it: Tune may delete it at any moment."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tune_ckpt.sweep.trial_folder import CONVERTED
from tune_ckpt.tree.storage.folder import TEMPORARY, Store
from tune_ckpt.tree.storage.store import open_store

MOST_SNAPSHOTS = 16  # of one trial, for jobs of one kind


@dataclass(frozen=True)
class Owner:
    """Whose a snapshot is: a callback's, which may not be the only one of its sweep."""

    mark: str = field(default_factory=lambda: secrets.token_hex(4))
    since: float = field(default_factory=time.time)

    def may_drop(self, snapshot: Path) -> bool:
        """Say whether a snapshot is this one's, or else was left by a driver that was killed."""
        return snapshot.name.endswith(self.mark) or snapshot.stat().st_mtime < self.since


@dataclass(frozen=True)
class Source:
    """A checkpoint of a sweep.

    Attributes:
        path: Where Tune keeps it, ``<trial>/checkpoint_N``.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
        snapshot: A folder that holds its files too, for one job alone; None where there is none.
    """

    path: str
    filesystem: Any = None
    snapshot: str | None = None

    @property
    def trial(self) -> str:
        """The trial's folder."""
        return self.path.rstrip("/").rpartition("/")[0]

    @property
    def name(self) -> str:
        """The checkpoint's own name."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def original(self) -> Source:
        """What Tune wrote, where this is its conversion; else this."""
        above, _, folder = self.trial.rpartition("/")
        return replace(self, path=f"{above}/{self.name}") if folder == CONVERTED else self

    @property
    def readable(self) -> str:
        """The path to read it from, in ``filesystem``."""
        return self.snapshot if self.snapshot and os.path.isdir(self.snapshot) else self.path

    @property
    def store(self) -> Store:
        """The folder to read from."""
        return open_store(self.readable, self.filesystem)

    def kept_for(self, job: str, owner: Owner) -> Source:
        """Return it with a snapshot, so that Tune's deleting it does not matter to that job.

        On the local disk these are hard links, which cost next to nothing; elsewhere there is no
        such thing, and Tune may be faster. So it may where jobs lag far behind: what Tune deletes
        would fill the disk.
        """
        if self.filesystem is not None or self._lags_behind(job):
            return self
        folder = f"{self.trial}/{CONVERTED}"
        snapshot = f"{folder}/.{self.name}{TEMPORARY}{job}-{owner.mark}"
        try:
            os.makedirs(folder, exist_ok=True)
            shutil.rmtree(snapshot, ignore_errors=True)  # Tune has written the checkpoint again
            _link_tree(self.path, snapshot)
        except OSError:  # a disk without hard links
            shutil.rmtree(snapshot, ignore_errors=True)
            return self
        return replace(self, snapshot=snapshot)

    def _lags_behind(self, job: str) -> bool:
        waiting = Path(self.trial, CONVERTED).glob(f".checkpoint_*{TEMPORARY}{job}-*")
        return len([*waiting]) >= MOST_SNAPSHOTS

    @contextmanager
    def used(self) -> Iterator[None]:
        """Delete the snapshot when the job is done."""
        try:
            yield
        finally:
            if self.snapshot:
                shutil.rmtree(self.snapshot, ignore_errors=True)


def _link_tree(source: str, target: str) -> None:
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _link_tree(entry.path, f"{target}/{entry.name}")
            else:
                os.link(entry.path, f"{target}/{entry.name}", follow_symlinks=False)


def drop_snapshots(trial: str, owner: Owner) -> None:
    """Delete the snapshots in a trial's folder for which no job is left, on the local disk."""
    folder = Path(trial, CONVERTED)
    for snapshot in folder.glob(f".checkpoint_*{TEMPORARY}*"):
        with suppress(OSError):  # another callback has just done so
            if owner.may_drop(snapshot):
                shutil.rmtree(snapshot)
    with suppress(OSError):  # it is not there, or not empty
        folder.rmdir()
