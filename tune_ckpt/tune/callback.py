"""The Tune callback: looks after a sweep's checkpoints while it runs.

Its hooks run on the driver's event loop, where an exception makes Tune forget a checkpoint and a
pause holds up every trial. So they only note what is to be done; a Ray actor that needs no CPU does
it, a few at a time, in order for each trial. A conversion goes beside the original
(``<trial>/msgpack/checkpoint_N``): ``checkpoint_N`` itself is Tune's, to be deleted or rewritten.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ray.tune import Callback

from tune_ckpt.errors import InvalidArgumentError, UnknownMetricError
from tune_ckpt.tune import private
from tune_ckpt.tune.arguments import check_count
from tune_ckpt.tune.beside import convert_one
from tune_ckpt.tune.completion import PIN, last_jobs, missing_jobs, report
from tune_ckpt.tune.harmless import harmless
from tune_ckpt.tune.jobs import verify_one
from tune_ckpt.tune.metric_checks import check_modes, refusal, warn_of_lacking
from tune_ckpt.tune.num_to_keep import LossWarning
from tune_ckpt.tune.options import CheckpointOptions, contradiction
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.pinning import Pinning, pin_one
from tune_ckpt.tune.pruning_live import LivePruner
from tune_ckpt.tune.resuming.scheduler_memory import SchedulerMemory
from tune_ckpt.tune.retention import Retention
from tune_ckpt.tune.source import Owner, Source
from tune_ckpt.tune.work import Work

SCHEDULER = "scheduler"  # the key of the state under which the scheduler's snapshot is
STRANGERS = "strangers"  # and the ids of the trials of which the searcher must hear nothing
_REPORT_SECS = 1.0, 60.0  # how long storage may take for the report, at least and at most


@dataclass(eq=False, repr=False, kw_only=True)
class CheckpointCallback(CheckpointOptions, Callback):
    """Converts, verifies, pins and deletes checkpoints, off the driver's event loop.

    It also keeps the scheduler's state with the sweep's, which Tune forgets: `tune_ckpt.resume`
    goes on with it exactly. For that alone it needs no arguments.

    Give it to ``tune.RunConfig(callbacks=[...])``. A sweep that is restored keeps it; one that had
    none can gain an `EnvironmentCallback`.

    Args:
        convert: Which checkpoints are written again as msgpack, beside the originals: ``"never"``;
            the ``"best"`` of the sweep by ``metric`` and ``mode``; each trial's ``"last"``;
            ``"all"``; or ``"at end"``, all that are left when the sweep ends. Any other
            conversions are deleted, so callbacks of one sweep must agree on which they make.
        metric: The metric's name, ``a/b`` for nested ones. Where something is done with the best
            and a sweep's first result lacks it, a warning says so: its name may be misspelled.
        mode: ``"max"`` or ``"min"``.
        verify: Check every byte of every checkpoint, once it is in storage.
        pin_best: Keep a copy of the best checkpoint so far, by ``metric`` and ``mode``, in
            ``<experiment>/best/``, for other processes to follow: `tune_ckpt.pinned_checkpoint`.
            It is msgpack where checkpoints are converted.
        drain_timeout_secs: How long the end of the sweep may wait for the work.
        retention: Which checkpoints the sweep keeps; by default all that Tune keeps.
        max_concurrent: How many jobs may run at once.

    Attributes:
        outcomes: What became of each checkpoint, in order; ``tune_ckpt_report.json`` has them too.

    Raises:
        InvalidArgumentError: An option has no such value, the metric is missing, or the retention
            has the other mode for it.
    """

    retention: Retention | None = None
    max_concurrent: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        super().__post_init__()
        if not isinstance(self.retention, Retention | None):
            raise InvalidArgumentError("retention", self.retention, (Retention.__name__, None))
        check_count("max_concurrent", self.max_concurrent, 1)  # else nothing would ever be done
        check_modes(self.ranked_by, self.retention)
        self._begin()

    def _begin(self) -> None:
        """Forget whatever is known of a sweep."""
        self.outcomes = []
        self.memory = SchedulerMemory()
        self._best = None
        self._pruner = LivePruner(self.retention) if self.retention else None
        self._loss = LossWarning((self.retention and self.retention.ranked_by) or self.ranked_by)
        self._has_ended = self._has_results = False
        self._work = self._new_work()

    def _new_work(self) -> Work:
        return Work(self.max_concurrent, self.outcomes, self._pruner)

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: Tune pickles the callback whenever a Tuner is made of it."""
        return {name: value for name, value in vars(self).items() if name != "_work"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._has_ended:  # of the sweep before the one that it is pickled for
            self._begin()
        self._work = self._new_work()

    # ------------------------------------------------------------------------- Tune's hooks

    def setup(self, *args: Any, **info: Any) -> None:
        """Refuse callbacks of a new sweep that would delete each other's conversions, and begin.

        Raises:
            InvalidArgumentError: They would: ``convert`` says that others are to be kept.
        """
        error = self._contradiction()
        if error is not None:
            raise error
        self._set_up()

    @harmless
    def _contradiction(self) -> InvalidArgumentError | None:
        controller = private.controller()
        if controller is None or private.has_resumed(controller):  # then it is too late
            return None
        return contradiction(private.callbacks(controller))

    @harmless
    def _set_up(self) -> None:
        """Begin anew after another sweep, and bring the scheduler back where one is resumed."""
        if self._has_ended:
            self._begin()
        self.owner = Owner()  # not that of a driver that was killed
        self.memory.attach()

    @harmless
    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Warn where Tune's own setting would delete the best checkpoint."""
        self._loss.look(trial)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
    ) -> None:
        """Refuse a retention's metric that the sweep's first result lacks.

        Raises:
            UnknownMetricError: It does; the metrics that there are, are listed.
        """
        error = self._refusal(result)
        if error is not None:
            raise error

    @harmless
    def on_checkpoint(
        self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        """Note what is to be done with a new checkpoint."""
        self._loss.look(trial, trial.last_result)
        source = Source(checkpoint.path, private.local_or(checkpoint.filesystem))
        value = self._improvement(trial.last_result)
        for key, job, *args in self._jobs(trial, source, value):
            if private.checkpoint_config_of(trial).num_to_keep is None and self._pruner is None:
                self._work.add(key, job, source, *args)
            else:
                self._work.add_kept(key, job, source, self.owner, *args)
        if self._pruner is not None:
            self._pruner.add(trial.trial_id, source.path, trial.last_result)

    @harmless
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Note a trial's last checkpoint for conversion."""
        for job in last_jobs(trial) if self.convert == "last" else ():
            self._work.add(*job)

    on_trial_error = on_trial_complete

    @harmless
    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Take the results of jobs that ended; never waits."""
        self._work.look()
        self._work.prune(trials)

    @harmless
    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Wait for the jobs, see to it that none is missing, and write the report."""
        self._has_ended = True
        trials = list(trials)
        try:
            if trials and self._is_needed:
                self._complete(trials, time.monotonic() + self.drain_timeout_secs)
        finally:
            self._work.close()
        if trials and self._is_needed:
            least, most = _REPORT_SECS
            report(trials[0], self.outcomes, max(least, min(self.drain_timeout_secs, most)))

    @harmless
    def get_state(self) -> dict[str, Any]:
        """Return what Tune shall keep with the sweep's state."""
        held = self._pruner.get_state() if self._pruner else []
        outcomes = [vars(outcome) for outcome in self.outcomes]
        kept = {"best": self._best, "outcomes": outcomes, "held": held}
        strangers = sorted(self.memory.search.strangers)
        return {**kept, SCHEDULER: self.memory.snapshot(), STRANGERS: strangers}

    @harmless
    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what Tune kept; what it lacks is found in storage when the sweep ends."""
        self._has_results = True  # of the sweep that is gone on with
        self.memory.packed = self.memory.packed or state.get(SCHEDULER)
        self.memory.search.strangers.update(state.get(STRANGERS, ()))
        self._best = state["best"]
        self.outcomes[:] = [Outcome(**outcome) for outcome in state["outcomes"]]
        if self._pruner is not None:
            self._pruner.set_state(state.get("held", []))

    def _jobs(self, trial: Any, source: Source, value: float | None) -> Iterator[tuple[Any, ...]]:
        """Yield key, job and further arguments of what is to be done with a new checkpoint."""
        if self.verify:
            yield trial.trial_id, verify_one
        if self.convert == "all" or (self.convert == "best" and value is not None):
            yield trial.trial_id, convert_one
        if self.pin_best and value is not None and self.ranked_by is not None:
            facts = trial, source.path, self.ranked_by, value
            yield PIN, pin_one, Pinning.of_trial(*facts, as_msgpack=self.convert != "never")

    @harmless
    def _refusal(self, result: Any) -> UnknownMetricError | None:
        is_first, self._has_results = not self._has_results, True
        if is_first and self._seeks_best:
            warn_of_lacking(self.ranked_by, result)
        return refusal(self.retention, result) if is_first else None

    @property
    def _is_needed(self) -> bool:
        return super()._is_needed or self._pruner is not None

    def _complete(self, trials: list[Any], deadline: float) -> None:
        self._work.drain("Looking after checkpoints", deadline)
        for job in missing_jobs(trials, self):
            self._work.add(*job)
        self._work.drain("Completing", deadline)
        self._work.prune(trials, at_end=True)
        self._work.drain("Deleting checkpoints", deadline)
        self._work.prune(trials)  # some sizes may be known only now
        self._work.drain("Deleting checkpoints", deadline)
        if self._pruner is not None:
            self._work.note(self._pruner.excess(trials))
