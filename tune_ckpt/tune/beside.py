"""Conversions beside the originals: ``<trial>/msgpack/checkpoint_N`` for ``<trial>/checkpoint_N``.

These functions run in Ray tasks. They return an `Outcome` and raise nothing that the package knows.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tune_ckpt.convert import CONVERTED_FROM, convert_to_msgpack_checkpoint
from tune_ckpt.errors import NotACheckpointError, TuneCkptError
from tune_ckpt.experiment import best_checkpoint
from tune_ckpt.metrics import Metric
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.store import TEMPORARY, Store, open_store

FOLDER = "msgpack"
Status = Literal["converted", "up to date", "skipped", "failed", "deleted", "kept"]


@dataclass(frozen=True)
class Outcome:
    """What became of one checkpoint.

    Attributes:
        checkpoint: The original's path; empty where it is about no single one.
        status: What was done.
        detail: Why, where it was skipped or failed; else the new path.
        seconds: How long it took.
    """

    checkpoint: str
    status: Status
    detail: str = ""
    seconds: float = 0.0


def split(checkpoint: str) -> tuple[str, str]:
    """Return a checkpoint's trial folder and its own name."""
    trial, _, name = checkpoint.rstrip("/").rpartition("/")
    return trial, name


def snapshot(checkpoint: str, filesystem: Any = None) -> str | None:
    """Keep a checkpoint's files from being deleted before they are converted.

    On the local disk these are hard links, which cost next to nothing; elsewhere there is no such
    thing, and Tune may be faster.

    Returns:
        The snapshot's path, or None.
    """
    if filesystem is not None:
        return None
    trial, name = split(checkpoint)
    target = Path(trial, FOLDER, f".{name}{TEMPORARY}source")
    shutil.rmtree(target, ignore_errors=True)  # a killed driver's
    try:
        shutil.copytree(checkpoint, target, copy_function=os.link)
    except OSError:  # shutil.Error is one: a disk without hard links
        shutil.rmtree(target, ignore_errors=True)
        return None
    return str(target)


def convert_one(
    checkpoint: str, filesystem: Any = None, source: str | None = None
) -> list[Outcome]:
    """Convert one checkpoint of a running sweep, unless that is done already.

    Args:
        checkpoint: Its path, ``<trial>/checkpoint_N``.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
        source: Its snapshot, which is deleted afterwards.
    """
    try:
        return [_outcome(checkpoint, filesystem, source)]
    finally:
        if source:
            shutil.rmtree(source, ignore_errors=True)


def convert_last(checkpoint: str, filesystem: Any = None) -> list[Outcome]:
    """Convert a trial's last checkpoint, and drop copies of its earlier ones."""
    outcome = _outcome(checkpoint, filesystem)
    trial, name = split(checkpoint)
    _keep_only(open_store(trial, filesystem), {name})
    return [outcome]


def convert_all(trial: str, filesystem: Any = None) -> list[Outcome]:
    """Convert what is left of a trial's checkpoints, and drop copies of those that are gone.

    Args:
        trial: The trial's folder.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
    """
    store = open_store(trial, filesystem)
    names = _checkpoints(store)
    outcomes = [_outcome(f"{trial}/{name}", filesystem) for name in names]
    _keep_only(store, set(names))
    return outcomes


def convert_best(experiment: str, metric: Metric, filesystem: Any = None) -> list[Outcome]:
    """Convert a sweep's best checkpoint, and drop the copies of all others.

    Args:
        experiment: The sweep's folder.
        metric: What is best.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
    """
    try:
        best = best_checkpoint(experiment, metric.name, metric.mode, filesystem=filesystem)
    except TuneCkptError as error:
        return [Outcome(experiment, "skipped", str(error))]
    trial, name = split(best.path)
    outcomes = []
    if split(trial)[1] == FOLDER:  # the copy is all that is left of it
        trial = split(trial)[0]
    else:
        outcomes.append(_outcome(best.path, filesystem))
    store = open_store(experiment, filesystem)
    for entry in store.list():
        if entry.is_dir:
            kept = {name} if entry.name == split(trial)[1] else set()
            _keep_only(store.child(entry.name), kept)
    return outcomes


def _outcome(checkpoint: str, filesystem: Any, source: str | None = None) -> Outcome:
    start = time.monotonic()
    try:
        status, detail = _convert(checkpoint, filesystem, source or checkpoint)
    except TuneCkptError as error:
        status, detail = _explain(checkpoint, filesystem, error)
    return Outcome(checkpoint, status, detail, time.monotonic() - start)


def _convert(checkpoint: str, filesystem: Any, source: str) -> tuple[Status, str]:
    opened = open_tree(open_store(source, filesystem))
    if opened.metadata.format == "msgpack":
        return "skipped", "it is msgpack already"
    trial, name = split(checkpoint)
    target = f"{trial}/{FOLDER}/{name}"
    # Tune writes checkpoint_N again after a crash: compare content, not names.
    if _source_of(open_store(target, filesystem)) == opened.metadata.digest:
        return "up to date", target
    # The sweep wrote its own pickles, so they are as trusted as the sweep.
    convert_to_msgpack_checkpoint(source, target, filesystem=filesystem, allow_pickle=True)
    return "converted", target


def _source_of(store: Store) -> str | None:
    try:
        digest: str | None = open_tree(store).metadata.extra.get(CONVERTED_FROM)
    except TuneCkptError:
        return None  # none there, or an unusable one, which the next conversion replaces
    return digest


def _explain(checkpoint: str, filesystem: Any, error: TuneCkptError) -> tuple[Status, str]:
    if not open_store(checkpoint, filesystem).list():
        return "skipped", "Tune deleted it before it could be converted (num_to_keep)"
    if isinstance(error, NotACheckpointError):
        return "skipped", f"it is no component tree ({error.found})"
    return "failed", str(error)


def _keep_only(trial: Store, names: Collection[str]) -> None:
    folder = trial.child(FOLDER)
    for name in _checkpoints(folder):
        if name not in names:
            folder.delete(name)


def _checkpoints(store: Store) -> list[str]:
    return [e.name for e in store.list() if e.is_dir and e.name.startswith("checkpoint_")]
