"""What the callback's actor does for retention: looks, measures, deletes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_ckpt.errors import (
    CorruptDataError,
    IncompleteCheckpointError,
    NotACheckpointError,
    TuneCkptError,
)
from tune_ckpt.sweep.opening import open_sweep
from tune_ckpt.sweep.result_log import Metrics
from tune_ckpt.sweep.trial_folder import CONVERTED
from tune_ckpt.tree.inspection.verify import verify
from tune_ckpt.tree.removing import delete_checkpoint
from tune_ckpt.tree.storage.folder import TEMPORARY, reported
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tree.storage.store import open_parent, open_store
from tune_ckpt.tune.fates import Held
from tune_ckpt.tune.outcomes import Outcome, failed
from tune_ckpt.tune.source import Source


@dataclass(frozen=True)
class Found:
    """A checkpoint that is in a trial's folder."""

    trial: str
    path: str
    metrics: Metrics


def survey(trial: str, folder: str, filesystem: Any = None) -> list[Found | Outcome]:
    """Return the checkpoints in a trial's folder.

    Args:
        trial: The trial's id.
        folder: Its folder.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
    """
    try:
        sweep = open_sweep(folder, filesystem)
        looked_at = [(found, found.pairs()) for found in (sweep.look() if sweep.only else ())]
        return [
            Found(trial, f"{folder}/{name}", pairs.get(name, {}))
            for found, pairs in looked_at
            for name in sorted(found.checkpoints)
        ]
    except TuneCkptError as error:
        return [failed(folder, "measure", error)]


@dataclass(frozen=True)
class Measured:
    """A checkpoint's size."""

    path: str
    nbytes: int


def measure(checkpoint: str, filesystem: Any = None) -> list[Measured | Outcome]:
    """Return a checkpoint's size."""
    try:
        return [Measured(checkpoint, open_store(checkpoint, filesystem).total_nbytes())]
    except TuneCkptError as error:
        return [failed(checkpoint, "measure", error)]


def is_whole(checkpoint: str, filesystem: Any) -> bool:
    """Say whether a checkpoint is there, and each byte of it is as it was written."""
    store = open_store(checkpoint, filesystem)
    return bool(store.names()) and verify(checkpoint, filesystem=filesystem).ok


def prune(
    one: Held,
    newest: str | None,
    filesystem: Any = None,
    check: Callable[[str, Any], bool] = is_whole,
) -> list[Outcome]:
    """Delete a checkpoint and its conversion, if the newest one of its trial is whole.

    Args:
        one: The checkpoint.
        newest: The newest one of a trial that is not finished.
        filesystem: The pyarrow filesystem they lie on; None for the local disk.
        check: Says whether the newest is whole.
    """
    source = Source(one.path, filesystem)
    try:
        if newest is not None and not check(newest, filesystem):
            detail = f"the newest of its trial is damaged: {Source(newest).name}"
            return [Outcome(one.path, "delete", "skipped", detail)]
        for path in (one.path, f"{source.trial}/{CONVERTED}/{source.name}"):
            delete_whole(path, filesystem)
    except TuneCkptError as error:
        return [failed(one.path, "delete", error)]
    value = "" if one.value is None else f", value {one.value!r}"
    return [Outcome(one.path, "delete", "done", f"iteration {one.iteration}{value}")]


def delete_whole(checkpoint: str, filesystem: Any = None) -> None:
    """Delete a checkpoint's folder, whatever is in it; no half of it can be taken for one."""
    parent, name = open_parent(checkpoint, filesystem)
    if not parent.exists(name):
        return
    with suppress(NotACheckpointError, CorruptDataError, IncompleteCheckpointError):
        delete_checkpoint(checkpoint, filesystem=filesystem)
    if isinstance(parent, LocalStore):
        _delete_at_once(Path(parent.path(name)))
    else:
        parent.delete(name)


def _delete_at_once(folder: Path) -> None:
    # Another library's checkpoint: out of sight in one step, then file by file.
    hidden = folder.with_name(f".{folder.name}{TEMPORARY}deleted")
    shutil.rmtree(hidden, ignore_errors=True)  # a killed one's
    with reported("delete", folder), suppress(FileNotFoundError):
        os.rename(folder, hidden)
        shutil.rmtree(hidden)
