"""Where a sweep that is resumed lies: for us, and for Ray."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import InvalidArgumentError, NotACheckpointError, StorageError
from tune_ckpt.sweep.paths import below
from tune_ckpt.sweep.trial_folder import trial_id_in
from tune_ckpt.tree.storage.folder import reported
from tune_ckpt.tree.storage.store import Store, open_store
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.past import PastTrial, is_trial, past_trials

_SWEEPS = re.compile(r"tuner\.pkl$|experiment_state-")  # a sweep that was killed at once has these


@dataclass(frozen=True)
class Place:
    """A sweep's folder.

    Attributes:
        path: Its path or URI, as Ray wants it.
        store: The folder.
        filesystem: The pyarrow filesystem it lies on.
        fs_path: Its path there.
    """

    path: str
    store: Store
    filesystem: Any
    fs_path: str

    @classmethod
    def of(cls, path: str | os.PathLike[str], filesystem: Any) -> Place:
        """Return the place that a path or URI means.

        Raises:
            InvalidArgumentError: It is neither.
            NotACheckpointError: No sweep is there.
            StorageError: It cannot be written: Ray would fail, after much was done.
        """
        if not isinstance(path, str | os.PathLike):
            expected = ("the sweep's folder, such as results.experiment_path",)
            raise InvalidArgumentError("path", path, expected)
        text = os.fspath(path).rstrip("/")
        if filesystem is None and "://" not in text:
            text = os.path.abspath(os.path.expanduser(text))
        with reported("open", text):
            arrow, fs_path = private.filesystem_and_path(text, filesystem)
        store = open_store(fs_path, private.local_or(arrow))
        names = store.names()
        if not any(map(_SWEEPS.match, names)) and not list(past_trials(store)):
            raise NotACheckpointError(store.location, _found(store, names), "a sweep's folder")
        store.write_bytes(private.storage_marker(), b"")
        return cls(text, store, arrow, fs_path)

    @property
    def local_or_filesystem(self) -> Any:
        """The pyarrow filesystem it lies on; None for the local disk."""
        return private.local_or(self.filesystem)

    def address(self, path: str) -> str:
        """Return what opens a path in the sweep's filesystem: a URI where the sweep's is one."""
        inside = path.removeprefix(f"{self.fs_path}/")
        return path if inside == path else below(self.path, inside)

    def trial_like(self) -> set[str]:
        """Return the names of the folders that are called as Ray calls trials' ones."""
        names = self.store.names()
        return {name for name, is_dir in names.items() if is_dir and trial_id_in(name)}

    def pasts(self, named: Iterable[str] = ()) -> dict[str, PastTrial]:
        """Return the trials' folders by name.

        Args:
            named: Trials' folders that are to be among them, even if nothing is in them yet.
        """
        begun = {past.name: past for past in past_trials(self.store)}
        return {name: PastTrial(name, self.store.child(name)) for name in named} | begun


def _found(store: Store, names: Mapping[str, bool]) -> str:
    """Say what is there instead of a sweep, and where one is."""
    if not names:
        return "there is nothing"
    if is_trial(names):
        above = store.location.rstrip("/").rpartition("/")[0]
        return f"it is a single trial's; give the sweep's own folder, {above}"
    inside = (store.child(name) for name in sorted(names) if names[name])
    sweep = next(filter(_is_sweep, inside), None)
    such_as = f", such as {sweep.location}" if sweep else ""
    return f"no trial's folder is in it; give the sweep's own folder{such_as}"


def _is_sweep(folder: Store) -> bool:
    with suppress(StorageError):  # others' folders may not be read
        return any(map(_SWEEPS.match, folder.names()))
    return False
