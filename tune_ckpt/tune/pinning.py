"""Copies the best checkpoint of a running sweep to where it stays (`tune_ckpt.sweep.best_file`)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

from tune_ckpt.errors import (
    CorruptDataError,
    NotACheckpointError,
    TuneCkptError,
    UnsupportedStateError,
)
from tune_ckpt.experiment import best_checkpoint
from tune_ckpt.sweep.best_file import FILE, FOLDER, Pinned, read_pinned
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tree.copying import copy_files, to_be_copied
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tree.writing import write_packed
from tune_ckpt.tune.conversion import convert, is_msgpack
from tune_ckpt.tune.jobs import Done, outcome_of
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.private import experiment_folder
from tune_ckpt.tune.source import Source


@dataclass(frozen=True)
class Pinning:
    """What a checkpoint is pinned for.

    Attributes:
        experiment: The sweep's folder, in the checkpoint's filesystem.
        facts: What is known of it; the folder's name is still to be chosen.
        as_msgpack: Whether the copy shall be msgpack.
    """

    experiment: str
    facts: Pinned
    as_msgpack: bool

    @classmethod
    def of(
        cls, experiment: str, path: str, goal: Metric, *, as_msgpack: bool, **known: Any
    ) -> Pinning:
        """Return what a checkpoint is pinned for.

        Args:
            experiment: The sweep's folder.
            path: The checkpoint.
            goal: What is best.
            as_msgpack: Whether the copy shall be msgpack.
            known: What else `Pinned` says of it.
        """
        within = Source(path).original.path.removeprefix(experiment.rstrip("/")).lstrip("/")
        facts = Pinned(goal.name, goal.mode, checkpoint=within, folder="", **known)
        return cls(experiment, facts, as_msgpack)

    @classmethod
    def of_trial(
        cls, trial: Any, path: str, goal: Metric, value: float, *, as_msgpack: bool
    ) -> Pinning:
        """Return what the checkpoint is pinned for that a trial has just reported."""
        result = trial.last_result
        return cls.of(
            *(experiment_folder(trial)[0], path, goal),
            as_msgpack=as_msgpack,
            value=value,
            trial_id=trial.trial_id,
            iteration=result.get("training_iteration"),
            config=dict(trial.config),
            metrics={key: item for key, item in result.items() if key != "config"},
        )


def pin_one(source: Source, pinning: Pinning) -> list[Outcome]:
    """Pin a checkpoint, unless a better one is pinned already."""
    with source.used():
        return [outcome_of("pin", source, lambda source: _pin(source, pinning))]


def pin_best(
    experiment: str, metric: Metric, as_msgpack: bool, filesystem: Any = None
) -> list[Outcome]:
    """Pin the best checkpoint that is left in a sweep, unless a better one is pinned already.

    Args:
        experiment: The sweep's folder.
        metric: What is best.
        as_msgpack: Whether the copy shall be msgpack.
        filesystem: The pyarrow filesystem it lies on; None for the local disk.
    """
    try:
        best = best_checkpoint(experiment, metric.name, metric.mode, filesystem=filesystem)
    except TuneCkptError as error:
        return [Outcome(experiment, "pin", "skipped", str(error))]
    pinning = Pinning.of(
        *(experiment, best.path, metric),
        as_msgpack=as_msgpack,
        value=best.value,
        trial_id=best.trial_id,
        iteration=best.iteration,
        config=best.config,
        metrics=best.metrics,
    )
    return pin_one(Source(best.path, filesystem), pinning)


def _pin(source: Source, pinning: Pinning) -> Done:
    experiment = open_store(pinning.experiment, source.filesystem)
    folder, facts = experiment.child(FOLDER), pinning.facts
    before = _before(folder)
    if before and not _better(facts, before):
        return "up to date", f"{before.folder} is as good", 0, 0
    name = f"{facts.trial_id}_{source.name}-{secrets.token_hex(4)}"
    _copy(source, pinning, name)
    facts = replace(facts, folder=name, previous=before.folder if before else None)
    folder.make()
    folder.write_bytes(FILE, facts.to_json())
    for entry in folder.list():
        if entry.is_dir and entry.name not in (name, facts.previous):
            folder.delete(entry.name)
    sizes = source.store.total_nbytes(), folder.child(name).total_nbytes()
    return "done", f"{pinning.experiment}/{FOLDER}/{name}", *sizes


def _before(folder: Store) -> Pinned | None:
    try:
        return read_pinned(folder)
    except CorruptDataError:
        return None  # the new one takes its place


def _better(new: Pinned, old: Pinned) -> bool:
    same_goal = (new.metric, new.mode) == (old.metric, old.mode)
    return not same_goal or Metric(new.metric, new.mode).better(new.value, old.value)


def _copy(source: Source, pinning: Pinning, name: str) -> None:
    path = f"{pinning.experiment}/{FOLDER}/{name}"
    if pinning.as_msgpack and _converted(source, path):
        return
    target = open_store(path, source.filesystem)
    try:
        opened = open_tree(source.store)
    except NotACheckpointError:
        copy_files(source.store, target)
    else:
        write_packed(target, to_be_copied(opened))


def _converted(source: Source, path: str) -> bool:
    """Convert a checkpoint where that is possible; else it shall be pinned as it is."""
    try:
        if is_msgpack(source):
            return False
        convert(source, path)
    except (NotACheckpointError, UnsupportedStateError):
        return False
    return True
