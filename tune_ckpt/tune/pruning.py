"""Retention carried out: what a running sweep holds, and what of it may go.

`Pruner` lives in the callback and touches no storage: it says which jobs of
`tune_ckpt.tune.pruning_jobs` are due.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from tune_ckpt.errors import UnknownMetricError
from tune_ckpt.sweep.metrics import names, nearest_first, number
from tune_ckpt.tree.units import human
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.pruning_jobs import Found, Measured, measure, prune, survey
from tune_ckpt.tune.retention import Fate, Held, Retention, age, doomed, fates


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
        self._count = 0.0
        self._asked: set[str] = set()
        self._seen: set[str] = set()
        self._is_resumed = self._has_results = False

    def refusal(self, result: Mapping[str, Any]) -> UnknownMetricError | None:
        """Return what is wrong with the metric, where a sweep's first result lacks it."""
        is_first, self._has_results = not self._has_results and not self._is_resumed, True
        metric = self.policy.ranked_by
        if metric is None or not is_first or self.policy.late_metric:
            return None
        if metric.find(result) is not None:
            return None
        return UnknownMetricError(metric.name, nearest_first(metric.name, names(result)))

    def add(self, trial: str, path: str, metrics: Mapping[str, Any]) -> None:
        """Note a new checkpoint, or one that was written again."""
        self._count += 1
        self._going.pop(path, None)
        self._asked.discard(path)
        self._hold(trial, path, metrics, self._count)

    def found(self, one: Found) -> None:
        """Note a checkpoint that was there already, where it is not known."""
        if one.path not in self._held and one.path not in self._going:
            before = [
                h.order for h in self._held.values() if h.trial == one.trial and h.path < one.path
            ]
            self._hold(one.trial, one.path, one.metrics, max(before, default=0.0))

    def _hold(self, trial: str, path: str, metrics: Mapping[str, Any], order: float) -> None:
        metric = self.policy.ranked_by
        iteration = int(number(metrics.get("training_iteration")) or 0)
        self.has_news = True
        self._held[path] = Held(
            path=path,
            trial=trial,
            order=order,
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
        for one in sorted(self._held.values(), key=age):
            newest[one.trial] = one
        for one in gone:
            self._going[one.path] = self._held.pop(one.path)
        return [(one, newest[one.trial].path if one.trial in live else None) for one in gone]

    def take_jobs(self, trials: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield what is to be done for a running sweep: each job with its key and arguments."""
        from tune_ckpt.tune.private import trial_folder  # at rest, Ray is not needed

        by_id = {str(trial.trial_id): trial for trial in trials}
        for trial_id in self._strangers(by_id):
            yield trial_id, survey, trial_id, *trial_folder(by_id[trial_id])
        known = [one for one in self._held.values() if one.trial in by_id]
        for one in known if self.policy.max_bytes is not None else ():
            if one.nbytes is None and one.path not in self._asked:
                self._asked.add(one.path)
                yield one.trial, measure, one.path, trial_folder(by_id[one.trial])[1]
        for one, newest in self.take_doomed(*_needs(by_id)):
            yield one.trial, prune, one, newest, trial_folder(by_id[one.trial])[1]

    def _strangers(self, by_id: Mapping[str, Any]) -> list[str]:
        """Return the trials that may have checkpoints of which nobody has told: a killed driver."""
        from tune_ckpt.tune.private import latest_of

        new = [trial_id for trial_id in by_id if trial_id not in self._seen]
        self._seen.update(new)
        if self._is_resumed:
            return new
        return [name for name in new if (latest_of(by_id[name]) or "") not in {"", *self._held}]

    def excess(self, trials: Iterable[Any]) -> list[Outcome | Measured | Found]:
        """Return that the budget is exceeded by what no budget outweighs, if it is."""
        by_id = {str(trial.trial_id): trial for trial in trials}
        told = excess(self.policy, self.fates(*_needs(by_id)))
        return [Outcome("", "delete", "skipped", told)] if told else []

    def note(self, result: Outcome | Measured | Found) -> None:
        """Note what came of a job."""
        if isinstance(result, Outcome):
            self.ended(result)
        elif isinstance(result, Measured):
            self.measured(result)
        else:
            self.found(result)

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
        self._count = max((one.order for one in self._held.values()), default=0.0)
        self.has_news = self._is_resumed = True


def live_trials(trials: Iterable[Any]) -> set[str]:
    """Return the ids of trials that may go on, those included that failed: they can be resumed."""
    return {str(trial.trial_id) for trial in trials if trial.status != "TERMINATED"}


def _needs(by_id: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the trials of a running sweep that are live, and the checkpoints that are in use."""
    from tune_ckpt.tune.private import exploitable, latest_of

    live = live_trials(by_id.values())
    in_use = {path for path in map(latest_of, (by_id[name] for name in live)) if path}
    return live, in_use | (exploitable() if live else set())


def excess(policy: Retention, fates: Iterable[Fate]) -> str | None:
    """Return by what a budget is exceeded, where what it does not outweigh takes more."""
    kept = [fate for fate in fates if fate.stays]
    nbytes = sum(fate.held.nbytes or 0 for fate in kept)
    if nbytes <= policy.budget_nbytes:
        return None
    why = ", ".join(f"{role}: {count}" for role, count in Counter(f.roles[0] for f in kept).items())
    return f"the budget of {policy.max_bytes} is exceeded: {human(nbytes)} must stay ({why})"
