"""Retention in a running sweep: which jobs of `tune_ckpt.tune.pruning_jobs` are due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tune_ckpt.tune import private
from tune_ckpt.tune.fates import Held
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.pruning import Pruner, excess
from tune_ckpt.tune.pruning_jobs import Found, Measured, measure, prune, survey
from tune_ckpt.tune.retention import Retention
from tune_ckpt.tune.statuses import TERMINATED


class LivePruner(Pruner):
    """A `Pruner` that knows the sweep from Tune: it lives in the callback.

    Args:
        policy: What is kept.
    """

    def __init__(self, policy: Retention) -> None:
        super().__init__(policy)
        self._asked: set[str] = set()  # the checkpoints whose size is being measured
        self._seen: set[str] = set()  # the trials that were looked at
        self._is_resumed = False

    def add(self, trial: str, path: str, metrics: Mapping[str, Any]) -> None:
        """Note a new checkpoint, or one that was written again."""
        super().add(trial, path, metrics)
        self._asked.discard(path)

    def _found(self, one: Found) -> None:
        """Note a checkpoint that was there already, where it is not known."""
        if one.path not in self._held and one.path not in self._going:
            before = [
                h.order for h in self._held.values() if h.trial == one.trial and h.path < one.path
            ]
            self._hold(one.trial, one.path, one.metrics, max(before, default=0.0))

    def take_jobs(self, trials: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield what is to be done for a running sweep: each job with its key and arguments."""
        by_id = {str(trial.trial_id): trial for trial in trials}
        if not by_id:
            return
        _, filesystem = private.trial_folder(next(iter(by_id.values())))  # it is the sweep's
        self._forget_deleted(by_id)
        for trial_id in self._unsurveyed(by_id):
            yield trial_id, survey, trial_id, *private.trial_folder(by_id[trial_id])
        for one in [*self._held.values()] if self.policy.max_bytes is not None else ():
            if one.nbytes is None and one.path not in self._asked:
                self._asked.add(one.path)
                yield one.trial, measure, one.path, filesystem
        for one, newest in self.take_doomed(*_needs(by_id)):  # of a trial that Tune restarted, too
            yield one.trial, prune, one, newest, filesystem

    def _forget_deleted(self, by_id: Mapping[str, Any]) -> None:
        """Forget what Tune has deleted: it must take no room in the budget, and no one's role."""
        limits = {name: private.checkpoint_config_of(by_id[name]).num_to_keep for name in by_id}
        counted = {name for name, limit in limits.items() if limit is not None}
        there = {path for name in counted for path in private.recorded(by_id[name])}
        gone = [h.path for h in self._held.values() if h.trial in counted and h.path not in there]
        for path in gone:
            del self._held[path]

    def _unsurveyed(self, by_id: Mapping[str, Any]) -> list[str]:
        """Return the trials that may have checkpoints of which nobody has told: a killed driver."""
        new = [trial_id for trial_id in by_id if trial_id not in self._seen]
        self._seen.update(new)
        if self._is_resumed:
            return new
        latest = {name: private.latest_path(by_id[name]) for name in new}
        return [name for name, path in latest.items() if path and path not in self._held]

    def excess(self, trials: Iterable[Any]) -> list[Outcome]:
        """Return that the budget is exceeded by what no budget outweighs, if it is."""
        by_id = {str(trial.trial_id): trial for trial in trials}
        told = excess(self.policy, self.fates(*_needs(by_id)))
        return [Outcome("", "delete", "skipped", told)] if told else []

    def note(self, result: Outcome | Measured | Found) -> None:
        """Note what came of a job."""
        if isinstance(result, Outcome):
            self._ended(result)
        elif isinstance(result, Measured):
            self.measured(result)
        else:
            self._found(result)

    def _ended(self, outcome: Outcome) -> None:
        """Take back what was not deleted, for another time."""
        if outcome.action == "measure":
            self._asked.discard(outcome.checkpoint)  # it failed: ask again
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
        self._count = max((one.order for one in self._held.values()), default=0.0)
        self.has_news = self._is_resumed = True


def _needs(by_id: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the trials of a running sweep that are live, and the checkpoints that are in use."""
    # Those that failed may go on, too: they can be resumed.
    live = {name for name, trial in by_id.items() if trial.status != TERMINATED}
    in_use = {path for path in map(private.latest_path, (by_id[name] for name in live)) if path}
    return live, in_use | (private.exploitable() if live else set())
