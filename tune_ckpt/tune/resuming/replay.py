"""A scheduler's state made again from the past results of its trials, where none was kept.

For a sweep that ran without `CheckpointCallback`. The scheduler is told of the trials and of their
results once more, in the order of their times, up to the checkpoints from which they go on. What it
decided by chance cannot be known again; that is said in the table below.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
    TrialScheduler,
)

from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.histories import History
from tune_ckpt.tune.resuming.past import Metrics
from tune_ckpt.tune.resuming.snapshot import Snapshot, class_name
from tune_ckpt.tune.statuses import ENDED, PAUSED, PENDING, RUNNING, TERMINATED


def replayed(
    scheduler: Any, histories: list[History], metric: str | None, mode: str | None
) -> Snapshot | None:
    """Return the state that a fresh scheduler has after the past; None where there is no way.

    Args:
        scheduler: The scheduler as it was before the sweep; it is left so.
        histories: The trials in the order in which they were made.
        metric: The sweep's metric, where the scheduler has none of its own.
        mode: The sweep's mode, likewise.
    """
    replay = _way(scheduler)
    if replay is None:
        return None
    generators = random.getstate(), np.random.get_state()
    again = copy.deepcopy(scheduler)
    private.set_metric(again, metric, mode)
    statuses = {history.trial.trial_id: history.trial.status for history in histories}
    try:
        statuses |= replay(again, histories)
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
    seen = {
        history.trial.trial_id: (history.results[-1]["training_iteration"], TrialScheduler.CONTINUE)
        for history in histories
        if history.results
    }
    return Snapshot(class_name(scheduler), vars(again), seen, statuses)


def is_timeless(scheduler: Any) -> bool:
    """Say whether a scheduler's state follows from the results alone, in whatever order."""
    if isinstance(scheduler, AsyncHyperBandScheduler):
        return private.brackets(scheduler) == 1
    return scheduler is None or type(scheduler) is FIFOScheduler


# ---------------------------------------------------------------------------- told once more


class _Controller:
    """Stands in for Tune's: notes which trials a scheduler pauses or stops."""

    def __init__(self, scheduler: Any, trials: list[Any]) -> None:
        self.search_alg: Any = SimpleNamespace(
            searcher=SimpleNamespace(on_pause=_nothing, on_unpause=_nothing)
        )
        self._scheduler = scheduler
        self._trials = trials

    def get_trials(self) -> list[Any]:
        """Return all trials."""
        return self._trials

    def get_live_trials(self) -> set[Any]:
        """Return those that have not ended."""
        return {trial for trial in self._trials if trial.status not in ENDED}

    def stop_trial(self, trial: Any) -> None:
        """Note that a trial has ended, and tell the scheduler."""
        if trial.status not in ENDED:
            self._scheduler.on_trial_remove(self, trial)
            trial.status = TERMINATED

    def pause_trial(self, trial: Any, **options: Any) -> None:
        """Note that a trial is paused."""
        trial.status = PAUSED


def _nothing(trial_id: str) -> None:
    pass


def _tell(scheduler: Any, histories: list[History]) -> dict[str, str]:
    """Tell a scheduler of trials and results as Tune would; return the statuses that follow."""
    ends = {history.trial: history.trial.status for history in histories}
    controller = _Controller(scheduler, list(ends))
    for trial in ends:
        trial.status = PENDING
    try:
        for trial in ends:
            scheduler.on_trial_add(controller, trial)
        for trial, result in _in_time(histories):
            if trial.status not in ENDED:
                if trial.status == PAUSED:
                    scheduler.choose_trial_to_run(controller)  # BOHB's halves when all wait
                trial.status = RUNNING
                decision = scheduler.on_trial_result(controller, trial, result)
                _obey(controller, scheduler, trial, result, decision)
        for trial, end in ends.items():
            if end in ENDED and trial.status not in ENDED:
                scheduler.on_trial_remove(controller, trial)
                trial.status = end
        return {trial.trial_id: trial.status for trial in ends}
    finally:
        for trial, end in ends.items():
            trial.status = end


def _obey(controller: Any, scheduler: Any, trial: Any, result: Metrics, decision: str) -> None:
    if decision == TrialScheduler.PAUSE:
        trial.status = PAUSED
    elif decision == TrialScheduler.STOP or result.get("done"):
        scheduler.on_trial_complete(controller, trial, result)
        trial.status = TERMINATED


def _in_time(histories: list[History]) -> Iterator[tuple[Any, Metrics]]:
    told = [
        (result.get("timestamp", 0), result["training_iteration"], number, result)
        for number, history in enumerate(histories)
        for result in history.results
    ]
    for _, _, number, result in sorted(told, key=lambda item: item[:3]):
        yield histories[number].trial, result


# ------------------------------------------------------------------------------------ PBT


def _population(scheduler: Any, histories: list[History]) -> dict[str, str]:
    """Note the population's last scores and times; whom it exploited is in the trials already."""
    controller = _Controller(scheduler, [history.trial for history in histories])
    controller.search_alg = None
    for history in histories:
        scheduler.on_trial_add(controller, history.trial)
        state = private.population(scheduler)[history.trial]
        before = 0.0
        for result in history.results:
            _note(scheduler, history.trial, state, result, before)
            before = result.get(private.time_attribute(scheduler), before)
        latest = private.latest(history.trial)
        if latest and latest.metrics.get("training_iteration") == _iteration(state.last_result):
            state.last_checkpoint = latest.checkpoint
    return private.wait_for_all(scheduler, [history.trial for history in histories])


def _replay(scheduler: Any, histories: list[History]) -> dict[str, str]:
    """Bring the replay of a population, which has one trial, to where that is."""
    controller = _Controller(scheduler, [history.trial for history in histories])
    for history in histories[:1]:
        scheduler.on_trial_add(controller, history.trial)
        if history.results:
            private.replay_until(scheduler, history.results[-1]["training_iteration"])
    return {}


def _within(scheduler: Any, histories: list[History]) -> dict[str, str]:
    """Bring a scheduler's base to where it was; what it gave to trials is noted with those."""
    private.forget_resources(scheduler)
    base = private.base_scheduler(scheduler)
    replay = _way(base)
    return replay(base, histories) if replay else {}


def _note(scheduler: Any, trial: Any, state: Any, result: Metrics, before: float) -> None:
    time = result.get(private.time_attribute(scheduler))
    if time is None:
        return
    if time < before:  # it exploited another, at that one's time
        state.last_perturbation_time = private.last_multiple(scheduler, time)
    if private.is_due(scheduler, time - state.last_perturbation_time, time):
        private.save_score(scheduler, state, time, result, trial)
        state.last_perturbation_time = private.last_multiple(scheduler, time)


def _iteration(result: Mapping[str, Any] | None) -> Any:
    return result.get("training_iteration") if result else None


# Looked up from the top; what is not here begins anew, unless CheckpointCallback kept its state.
_WAYS: list[tuple[type, Callable[[Any, list[History]], dict[str, str]]]] = [
    (HyperBandScheduler, _tell),
    (MedianStoppingRule, _tell),
    (AsyncHyperBandScheduler, _tell),  # with several brackets, which trial is in which is by chance
    (PopulationBasedTrainingReplay, _replay),
    (ResourceChangingScheduler, _within),
    (PopulationBasedTraining, _population),  # random choices from here on are other ones
]


def _way(scheduler: Any) -> Callable[[Any, list[History]], dict[str, str]] | None:
    return next((way for cls, way in _WAYS if isinstance(scheduler, cls)), None)
