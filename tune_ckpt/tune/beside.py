"""Conversions beside the originals: ``<trial>/msgpack/checkpoint_N`` for ``<trial>/checkpoint_N``.

These functions run in Ray tasks. They return an `Outcome` and raise nothing that the package knows.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from tune_ckpt.convert import CONVERTED_FROM, convert_to_msgpack_checkpoint
from tune_ckpt.errors import NotACheckpointError, TuneCkptError
from tune_ckpt.tree.component import open_tree
from tune_ckpt.tree.store import Store, open_store

FOLDER = "msgpack"
Status = Literal["converted", "up to date", "skipped", "failed"]


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


def convert_beside(checkpoint: str, filesystem: Any = None) -> Outcome:
    """Convert one checkpoint of a running sweep, unless that is done already.

    Args:
        checkpoint: Its path, ``<trial>/checkpoint_N``.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
    """
    start = time.monotonic()
    try:
        status, detail = _convert(checkpoint, filesystem)
    except TuneCkptError as error:
        status, detail = _explain(checkpoint, filesystem, error)
    return Outcome(checkpoint, status, detail, time.monotonic() - start)


def _convert(checkpoint: str, filesystem: Any) -> tuple[Status, str]:
    opened = open_tree(open_store(checkpoint, filesystem))
    if opened.metadata.format == "msgpack":
        return "skipped", "it is msgpack already"
    trial, name = split(checkpoint)
    target = f"{trial}/{FOLDER}/{name}"
    # Tune writes checkpoint_N again after a crash: compare content, not names.
    if _source_of(open_store(target, filesystem)) == opened.metadata.digest:
        return "up to date", target
    # The sweep wrote its own pickles, so they are as trusted as the sweep.
    convert_to_msgpack_checkpoint(checkpoint, target, filesystem=filesystem, allow_pickle=True)
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


def convert_all(trial: str, filesystem: Any = None) -> list[Outcome]:
    """Convert what is left of a trial's checkpoints, and drop copies of those that are gone.

    Args:
        trial: The trial's folder.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
    """
    names = _checkpoints(open_store(trial, filesystem))
    outcomes = [convert_beside(f"{trial}/{name}", filesystem) for name in names]
    keep_only(trial, names, filesystem)
    return [outcome for outcome in outcomes if outcome.status != "up to date"]


def keep_only(trial: str, names: Collection[str], filesystem: Any = None) -> None:
    """Delete a trial's converted copies but those of the named checkpoints."""
    folder = open_store(trial, filesystem).child(FOLDER)
    for name in _checkpoints(folder):
        if name not in names:
            folder.delete(name)


def _checkpoints(store: Store) -> list[str]:
    return [e.name for e in store.list() if e.is_dir and e.name.startswith("checkpoint_")]
