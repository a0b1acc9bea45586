"""Retention carried out: what a running sweep holds, and the deletion of what may go.

`Pruner` lives in the callback and touches no storage; the functions below it run in its actor.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tune_ckpt.errors import (
    CorruptDataError,
    IncompleteCheckpointError,
    NotACheckpointError,
    TuneCkptError,
)
from tune_ckpt.sweep.metrics import number
from tune_ckpt.sweep.trial_folder import CONVERTED
from tune_ckpt.tree.inspection.verify import verify
from tune_ckpt.tree.removing import delete_checkpoint
from tune_ckpt.tree.storage.folder import TEMPORARY, Store
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tree.storage.store import open_parent, open_store
from tune_ckpt.tune.outcomes import Outcome, failed
from tune_ckpt.tune.resuming.source import Source
from tune_ckpt.tune.retention import Fate, Held, Retention, doomed, fates


class Pruner:
    """What a running sweep holds, and what of it may go.

    Args:
        policy: What is kept.

    Attributes:
        has_news: Whether more may go than at the last look.
    """

    def __init__(self, policy: Retention) -> None:
        self.policy = policy
        self.has_news = False
        self._held: dict[str, Held] = {}
        self._going: dict[str, Held] = {}
        self._count = 0

    def add(self, trial: str, path: str, metrics: Mapping[str, Any]) -> None:
        """Note a new checkpoint, or one that was written again."""
        metric = self.policy.ranked_by
        iteration = int(number(metrics.get("training_iteration")) or 0)
        self._count += 1
        self._going.pop(path, None)
        self.has_news = True
        self._held[path] = Held(
            path=path,
            trial=trial,
            order=self._count,
            iteration=iteration,
            value=metric.value(metrics) if metric else None,
            is_pinned=self.policy.pins(iteration, metrics),
        )

    def measured(self, size: Measured) -> None:
        """Note a checkpoint's size."""
        if size.path in self._held:
            self._held[size.path] = replace(self._held[size.path], nbytes=size.nbytes)
            self.has_news = True

    def fates(self, live: set[str], in_use: set[str]) -> list[Fate]:
        """Return what would become of each, the most valuable first."""
        return fates(self.policy, self._held.values(), live, in_use)

    def take_doomed(self, live: set[str], in_use: set[str]) -> list[tuple[Held, str | None]]:
        """Return what may go, and forget it.

        Each comes with the newest one of its trial, which must be whole before anything else of
        the trial may go; None where the trial is finished.
        """
        self.has_news = False
        gone = doomed(self.policy, self._held.values(), live, in_use)
        newest: dict[str, Held] = {}
        for one in sorted(self._held.values(), key=lambda one: one.order):
            newest[one.trial] = one
        for one in gone:
            self._going[one.path] = self._held.pop(one.path)
        return [(one, newest[one.trial].path if one.trial in live else None) for one in gone]

    def take_doomed_of(self, trials: Iterable[Any]) -> Iterator[tuple[Any, Held, str | None]]:
        """Yield the same for the trials of a running sweep, each with its trial."""
        from tune_ckpt.tune.private import exploitable, latest_of  # at rest, Ray is not needed

        by_id = {str(trial.trial_id): trial for trial in trials}
        live = live_trials(by_id.values())
        in_use = {path for path in map(latest_of, (by_id[name] for name in live)) if path}
        if live:
            in_use |= exploitable()
        for one, newest in self.take_doomed(live, in_use):
            yield by_id[one.trial], one, newest

    def ended(self, outcome: Outcome) -> None:
        """Take back what was not deleted, for another time."""
        if outcome.action != "delete" or outcome.status == "failed":
            return
        one = self._going.pop(outcome.checkpoint, None)
        if one is not None and outcome.status == "skipped":
            self._held[one.path] = one

    def get_state(self) -> list[dict[str, Any]]:
        """Return what Tune shall keep."""
        return [asdict(one) for one in (*self._held.values(), *self._going.values())]

    def set_state(self, state: list[dict[str, Any]]) -> None:
        """Take over what Tune kept."""
        self._held = {one["path"]: Held(**one) for one in state}
        self._count = max((one.order for one in self._held.values()), default=0)
        self.has_news = True


# -------------------------------------------------------------------------------- in the actor


@dataclass(frozen=True)
class Measured:
    """A checkpoint's size."""

    path: str
    nbytes: int


def measure(checkpoint: str, filesystem: Any = None) -> list[Measured | Outcome]:
    """Return a checkpoint's size."""
    try:
        return [Measured(checkpoint, sum(_sizes(open_store(checkpoint, filesystem))))]
    except TuneCkptError as error:
        return [failed(checkpoint, "measure", error)]


def _sizes(store: Store) -> Iterator[int]:
    for entry in store.list():
        if entry.is_dir and not entry.is_link:
            yield from _sizes(store.child(entry.name))
        yield entry.nbytes


def prune(one: Held, newest: str | None, filesystem: Any = None) -> list[Outcome]:
    """Delete a checkpoint and its conversion, if the newest one of its trial is whole.

    Args:
        one: The checkpoint.
        newest: The newest one of a trial that is not finished.
        filesystem: The pyarrow filesystem they lie on; None for the local disk.
    """
    source = Source(one.path, filesystem)
    try:
        if newest is not None and not _is_whole(newest, filesystem):
            detail = f"the newest of its trial is damaged: {Source(newest).name}"
            return [Outcome(one.path, "delete", "skipped", detail)]
        for path in (one.path, f"{source.trial}/{CONVERTED}/{source.name}"):
            delete_whole(path, filesystem)
    except TuneCkptError as error:
        return [failed(one.path, "delete", error)]
    value = "" if one.value is None else f", value {one.value!r}"
    return [Outcome(one.path, "delete", "done", f"iteration {one.iteration}{value}")]


def _is_whole(checkpoint: str, filesystem: Any) -> bool:
    store = open_store(checkpoint, filesystem)
    return bool(store.names()) and verify(checkpoint, filesystem=filesystem).ok


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
    with suppress(FileNotFoundError):
        os.rename(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def live_trials(trials: Iterable[Any]) -> set[str]:
    """Return the ids of trials that may go on, those included that failed: they can be resumed."""
    return {str(trial.trial_id) for trial in trials if trial.status != "TERMINATED"}
