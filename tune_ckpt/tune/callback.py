"""The Tune callback: looks after a sweep's checkpoints while it runs.

Its hooks run on the driver's event loop, where an exception makes Tune forget a checkpoint and a
pause holds up every trial. So they only note what is to be done; a Ray actor that needs no CPU does
it, a few at a time, in order for each trial. A conversion goes beside the original
(``<trial>/msgpack/checkpoint_N``): ``checkpoint_N`` itself is Tune's, to be deleted or rewritten.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from ray.tune import Callback

from tune_ckpt.errors import UnknownMetricError
from tune_ckpt.tune.beside import convert_last, convert_one
from tune_ckpt.tune.completion import PIN, last_of, missing_jobs, report
from tune_ckpt.tune.harmless import harmless
from tune_ckpt.tune.jobs import verify_one
from tune_ckpt.tune.options import CheckpointOptions, Convert
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.pinning import Pinning, pin_one
from tune_ckpt.tune.private import checkpoint_config_of, local_or
from tune_ckpt.tune.pruning import Pruner
from tune_ckpt.tune.resuming.scheduler_memory import SchedulerMemory
from tune_ckpt.tune.resuming.source import Owner, Source
from tune_ckpt.tune.retention import Retention, deletes_the_best
from tune_ckpt.tune.work import Work

logger = logging.getLogger(__name__)

SCHEDULER = "scheduler"  # the key of the state under which the scheduler's snapshot is
STRANGERS = "strangers"  # and the ids of the trials of which the searcher must hear nothing
_REPORT_SECS = 60.0  # a storage that has not taken the report by then hangs


class CheckpointCallback(CheckpointOptions, Callback):
    """Converts, verifies, pins and deletes checkpoints, off the driver's event loop.

    It also keeps the scheduler's state with the sweep's, which Tune forgets: `tune_ckpt.resume`
    goes on with it exactly. For that alone it needs no arguments.

    Give it to ``tune.RunConfig(callbacks=[...])``. A sweep that is restored keeps it; one that had
    none can gain an `EnvironmentCallback`.

    Args:
        convert: Which checkpoints are written again as msgpack, beside the originals: ``"never"``;
            the ``"best"`` of the sweep by ``metric`` and ``mode``; each trial's ``"last"``;
            ``"all"``; or ``"at end"``, all that are left when the sweep ends.
        metric: The metric's name, ``a/b`` for nested ones.
        mode: ``"max"`` or ``"min"``.
        verify: Check every byte of every checkpoint, once it is in storage.
        pin_best: Keep a copy of the best checkpoint so far, by ``metric`` and ``mode``, in
            ``<experiment>/best/``, for other processes to follow: `tune_ckpt.pinned_checkpoint`.
            It is msgpack where checkpoints are converted.
        retention: Which checkpoints the sweep keeps; by default all that Tune keeps.
        max_concurrent: How many jobs may run at once.
        drain_timeout_secs: How long the end of the sweep may wait for the work.

    Attributes:
        outcomes: What became of each checkpoint, in order; ``tune_ckpt_report.json`` has them too.

    Raises:
        InvalidArgumentError: An option has no such value, or the metric is missing.
    """

    def __init__(
        self,
        convert: Convert = "never",
        *,
        metric: str | None = None,
        mode: str = "max",
        verify: bool = False,
        pin_best: bool = False,
        retention: Retention | None = None,
        max_concurrent: int = 2,
        drain_timeout_secs: float = 600.0,
    ) -> None:
        super().__init__(
            convert,
            metric=metric,
            mode=mode,
            verify=verify,
            pin_best=pin_best,
            drain_timeout_secs=drain_timeout_secs,
        )
        self.max_concurrent = max_concurrent
        self._retention = retention
        self._begin()

    def _begin(self) -> None:
        """Know nothing of any sweep."""
        self.outcomes: list[Outcome] = []
        self.memory = SchedulerMemory()
        self._best: float | None = None
        self._pruner = Pruner(self._retention) if self._retention else None
        self._warned = self._has_ended = False
        self._work = self._new_work()

    def _new_work(self) -> Work:
        return Work(self.max_concurrent, self.outcomes, self._pruner)

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: Tune pickles the callback whenever a Tuner is made of it."""
        return {name: value for name, value in vars(self).items() if name != "_work"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._work = self._new_work()

    # ------------------------------------------------------------------------- Tune's hooks

    @harmless
    def setup(self, *args: Any, **info: Any) -> None:
        """Begin anew after another sweep, and bring the scheduler back where one is resumed."""
        if self._has_ended:
            self._begin()
        self.owner = Owner()  # not that of a driver that was killed
        self.memory.attach()

    @harmless
    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Warn where Tune's own setting would delete the best checkpoint."""
        metric = self._pruner.policy.ranked_by if self._pruner else self.metric
        reason = deletes_the_best(checkpoint_config_of(trial), metric) if metric else None
        if reason and not self._warned:
            self._warned = True
            logger.warning(
                "tune_ckpt: num_to_keep of Tune's CheckpointConfig would delete the checkpoint "
                "with the best %s: %s. Leave it unset, and give retention= to the callback.",
                *(metric.name if metric else "", reason),
            )

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
    ) -> None:
        """Refuse a metric that the sweep's first result lacks, before anything is lost.

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
        source = Source(checkpoint.path, local_or(checkpoint.filesystem))
        value = self._improvement(trial.last_result)
        for key, job, *args in self._jobs(trial, source, value):
            if checkpoint_config_of(trial).num_to_keep is None and self._pruner is None:
                self._work.add(key, job, source, *args)
            else:
                self._work.add_kept(key, job, source, self.owner, *args)
        if self._pruner is not None:
            self._pruner.add(trial.trial_id, source.path, trial.last_result)

    @harmless
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Note a trial's last checkpoint for conversion."""
        if self.convert == "last" and trial.checkpoint:
            self._work.add(trial.trial_id, convert_last, last_of(trial))

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
            report(trials[0], self.outcomes, min(self.drain_timeout_secs, _REPORT_SECS))

    @harmless
    def get_state(self) -> dict[str, Any]:
        """Return what Tune shall keep with the sweep's state."""
        held = self._pruner.get_state() if self._pruner else []
        outcomes = [vars(outcome) for outcome in self.outcomes]
        kept = {"best": self._best, "outcomes": outcomes, "held": held}
        strangers = sorted(self.memory.search.strangers)
        return {**kept, SCHEDULER: self._scheduler(), STRANGERS: strangers}

    @harmless
    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what Tune kept; what it lacks is found in storage when the sweep ends."""
        self.memory.packed = self.memory.packed or state.get(SCHEDULER)
        self.memory.search.strangers.update(state.get(STRANGERS, ()))
        self._best = state["best"]
        self.outcomes[:] = [Outcome(**outcome) for outcome in state["outcomes"]]
        if self._pruner is not None:
            self._pruner.set_state(state.get("held", []))

    # --------------------------------------------------------------------------- the work

    def _jobs(self, trial: Any, source: Source, value: float | None) -> Iterator[tuple[Any, ...]]:
        """Yield key, job and further arguments of what is to be done with a new checkpoint."""
        if self.verify:
            yield trial.trial_id, verify_one
        if self.convert == "all" or (self.convert == "best" and value is not None):
            yield trial.trial_id, convert_one
        if self.pin_best and value is not None and self.metric is not None:
            as_msgpack = self.convert != "never"
            pinning = Pinning.of_trial(trial, source.path, self.metric, value, as_msgpack)
            yield PIN, pin_one, pinning

    @harmless
    def _refusal(self, result: Any) -> UnknownMetricError | None:
        return self._pruner.refusal(result) if self._pruner else None

    def _scheduler(self) -> bytes | None:
        try:
            return self.memory.snapshot()
        except Exception:  # such as a scheduler that holds what cannot be pickled
            logger.exception("tune_ckpt: the scheduler's state is not kept; the sweep goes on")
            return None

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
        if self._pruner is not None:
            self._work.note(self._pruner.excess(trials))
