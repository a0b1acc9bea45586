"""Retention for a sweep that nobody runs any more: a plan to look at first, then the deed.

What goes is decided by the same `Pruner` as in a running sweep; what it is told there by Tune is
read here from the sweep's folder. Ray is not imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import InvalidArgumentError, NoCheckpointError, UnknownMetricError
from tune_ckpt.sweep.experiment_state import PREFIX
from tune_ckpt.sweep.metrics import Metric, names, nearest_first, number
from tune_ckpt.sweep.opening import open_sweep
from tune_ckpt.sweep.result_log import RESULTS, Metrics
from tune_ckpt.sweep.trial_folder import TrialFolder
from tune_ckpt.tree.progress import Advance
from tune_ckpt.tree.storage.arrow import ArrowStore
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tree.storage.store import Store
from tune_ckpt.tune.fates import Fate, Held
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.pruning import Pruner, excess
from tune_ckpt.tune.pruning_jobs import Measured, is_whole, prune
from tune_ckpt.tune.retention import Retention

QUIET_SECS = 300.0  # after so long without news, an unfinished sweep counts as dead


@dataclass(frozen=True)
class Plan:
    """What of a sweep would go.

    Attributes:
        root: The sweep's folder, in its filesystem.
        filesystem: The pyarrow filesystem; None for the local disk.
        fates: What becomes of each checkpoint, the most valuable first.
        doomed: What goes, the least valuable first; each with the newest of an unfinished trial,
            which must be whole.
        news_secs: How long ago an unfinished sweep wrote something; None for a finished one.
        notes: What could not be read, and whether the budget is exceeded all the same.
    """

    root: str
    filesystem: Any
    fates: list[Fate]
    doomed: list[tuple[Held, str | None]]
    news_secs: float | None
    notes: tuple[str, ...]

    @property
    def seems_to_run(self) -> bool:
        """Whether the sweep may be running."""
        return self.news_secs is not None and self.news_secs < QUIET_SECS

    def name(self, held: Held) -> str:
        """Return a checkpoint's path within the sweep."""
        return held.path.removeprefix(self.root).lstrip("/")

    def carry_out(self, advance: Advance = lambda _: None) -> Iterator[Outcome]:
        """Delete what goes, each checkpoint in one step, and yield what came of it."""
        checked: dict[str, bool] = {}

        def check(newest: str, filesystem: Any) -> bool:
            """Say whether a checkpoint is whole; its bytes are read once."""
            if newest not in checked:
                checked[newest] = is_whole(newest, filesystem)
            return checked[newest]

        for one, newest in self.doomed:
            yield from prune(one, newest, self.filesystem, check)
            advance(1)


def plan_pruning(experiment: Any, policy: Retention, *, filesystem: Any = None) -> Plan:
    """Return what of a sweep would go; nothing is touched.

    Args:
        experiment: The sweep's folder, a path or a URI; or a single trial's.
        policy: What is kept.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``experiment`` is to be looked up.

    Raises:
        NoCheckpointError: It holds no checkpoints.
        UnknownMetricError: No checkpoint has a value of the metric: all would count as the worst.
        StorageError: The storage refuses.
    """
    sweep = open_sweep(experiment, filesystem)
    root = _root(sweep.store)
    folders = sweep.look()
    found = [_Trial.of(folder) for folder in folders]
    if not any(one.checkpoints for one in found):
        raise NoCheckpointError(sweep.base, sweep.notes.lines)
    _check_metric(policy.ranked_by, found)
    live = {one.name for one in found if not one.is_finished}
    needed = {name for folder in folders if folder.name in live for name in sweep.needed(folder)}
    in_use = {f"{root}/{name}" for name in needed}
    pruner = Pruner(policy)
    for trial, path, metrics, nbytes in _in_order(found):
        pruner.add(trial, f"{root}/{path}", metrics)
        pruner.measured(Measured(f"{root}/{path}", nbytes))
    fates = pruner.fates(live, in_use)
    doomed = pruner.take_doomed(live, in_use)
    news = _news_secs(sweep.store, [f for f in folders if f.name in live]) if live else None
    over = excess(policy, fates)
    notes = (*sweep.notes.lines, *([over] if over else []))
    return Plan(root, sweep.store.filesystem, fates, doomed, news, notes)


@dataclass(frozen=True)
class _Trial:
    """A trial: its checkpoints with their metrics and sizes, the oldest first."""

    name: str
    checkpoints: list[tuple[str, Metrics, int]]
    is_finished: bool

    @classmethod
    def of(cls, folder: TrialFolder) -> _Trial:
        """Return what a trial's folder holds."""
        pairs = folder.pairs()
        there = sorted(folder.checkpoints | folder.converted, key=lambda name: (len(name), name))
        homes = [(name, "/".join(folder.home(name) or ())) for name in there]
        found = [
            (f"{folder.name}/{home}", pairs.get(name, {}), _nbytes(folder.store, home))
            for name, home in homes
        ]
        return cls(folder.name, found, _is_finished(folder))


def _nbytes(folder: Store, path: str) -> int:
    for name in path.split("/"):
        folder = folder.child(name)
    return folder.total_nbytes()


def _is_finished(folder: TrialFolder) -> bool:
    return bool([result.get("done") for result in folder.results()][-1:] == [True])


def _in_order(found: list[_Trial]) -> list[tuple[str, str, Metrics, int]]:
    """Return all checkpoints, the oldest first: within a trial by name, across trials by time."""
    timed = []
    for one in found:
        latest = 0.0
        for path, metrics, nbytes in one.checkpoints:
            latest = max(latest, number(metrics.get("timestamp")) or 0.0)
            timed.append((latest, (one.name, path, metrics, nbytes)))
    return [checkpoint for _, checkpoint in sorted(timed, key=lambda pair: pair[0])]


def _check_metric(metric: Metric | None, found: list[_Trial]) -> None:
    known = [metrics for one in found for _, metrics, _ in one.checkpoints]
    if metric is None or any(metric.value(metrics) is not None for metrics in known):
        return
    available = {name for metrics in known for name in names(metrics)}
    raise UnknownMetricError(metric.name, nearest_first(metric.name, available))


def _news_secs(experiment: Store, live: list[TrialFolder]) -> float:
    entries = [entry for entry in experiment.list() if entry.name.startswith(PREFIX)]
    entries += [entry for folder in live if (entry := folder.store.stat(RESULTS))]
    return time.time() - max((entry.mtime or 0.0 for entry in entries), default=0.0)


def _root(store: Store) -> str:
    if not isinstance(store, LocalStore | ArrowStore):
        raise InvalidArgumentError("experiment", store.location, ("a folder, not an archive",))
    return str(store.root)
