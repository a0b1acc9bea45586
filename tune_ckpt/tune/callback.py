"""The Tune callback: looks after a sweep's checkpoints while it runs.

Its hooks run on the driver's event loop, where an exception makes Tune forget a checkpoint and a
pause holds up every trial. So they only note what is to be done; a Ray actor that needs no CPU does
it, a few at a time, in order for each trial. A conversion goes beside the original
(``<trial>/msgpack/checkpoint_N``): ``checkpoint_N`` itself is Tune's, to be deleted or rewritten.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ray.tune import Callback
from rich.console import Console
from rich.progress import Progress

from tune_ckpt.errors import InvalidArgumentError, UnknownMetricError
from tune_ckpt.metrics import names, nearest_first
from tune_ckpt.pinned import Pinned
from tune_ckpt.tree.store import open_store
from tune_ckpt.tune.beside import convert_all, convert_best, convert_last, convert_one
from tune_ckpt.tune.harmless import harmless
from tune_ckpt.tune.job_queue import JobQueue
from tune_ckpt.tune.jobs import tidy, verify_one
from tune_ckpt.tune.options import CheckpointOptions, Convert
from tune_ckpt.tune.outcomes import REPORT, Outcome, Summary, failed, report_json
from tune_ckpt.tune.pinning import Pinning, pin_best, pin_one, within
from tune_ckpt.tune.private import (
    checkpoint_config_of,
    experiment_folder,
    exploitable,
    latest_of,
    local_or,
    trial_folder,
)
from tune_ckpt.tune.pruning import Measured, Pruner, live_trials, measure, prune
from tune_ckpt.tune.retention import Retention, deletes_the_best
from tune_ckpt.tune.scheduler_memory import SchedulerMemory
from tune_ckpt.tune.source import Source

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tune_ckpt.tune.options import Options

logger = logging.getLogger(__name__)

SCHEDULER = "scheduler"  # the key of the state under which the scheduler's snapshot is
ENVIRONMENT = "TUNE_CKPT_CALLBACK"
_PIN = "best"  # the key of jobs that pin: one after the other, whichever trial they come from
_TIDY = "tidy"


class CheckpointCallback(CheckpointOptions, Callback):
    """Converts, verifies, pins and deletes checkpoints, off the driver's event loop.

    It also keeps the scheduler's state with the sweep's, which Tune forgets: `tune_ckpt.resume`
    goes on with it exactly. For that alone it needs no arguments.

    Give it to ``tune.RunConfig(callbacks=[...])``. A sweep that is restored keeps it; one that had
    none can gain an `EnvironmentCallback`.

    Args:
        convert: As `CheckpointOptions` says, and so are the ``options``.
        retention: Which checkpoints the sweep keeps; by default all that Tune keeps.
        max_concurrent: How many jobs may run at once.
        options: ``metric``, ``mode``, ``verify``, ``pin_best`` and ``drain_timeout_secs``.

    Raises:
        InvalidArgumentError: An option has no such value, or the metric is missing.
    """

    def __init__(
        self,
        convert: Convert = "never",
        *,
        retention: Retention | None = None,
        max_concurrent: int = 2,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(convert, **options)
        self.max_concurrent = max_concurrent
        self._pruner = Pruner(retention) if retention else None
        self._has_results = False
        self._warned = False
        self.memory = SchedulerMemory()
        # Made in setup: the callback is pickled when the Tuner is made.
        self._queue: JobQueue | None = None

    # ------------------------------------------------------------------------- Tune's hooks

    @harmless
    def setup(self, *args: Any, **info: Any) -> None:
        """Make what cannot be pickled, and bring the scheduler back where a sweep is resumed."""
        self._queue = JobQueue(self.max_concurrent, _lost)
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
        metric = self._pruner.policy.ranked_by if self._pruner else None
        if self._pruner is None or metric is None or self._has_results:
            return
        self._has_results = True
        if not self._pruner.policy.late_metric and metric.find(result) is None:
            raise UnknownMetricError(metric.name, nearest_first(metric.name, names(result)))

    @harmless
    def on_checkpoint(
        self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        """Note what is to be done with a new checkpoint."""
        source = Source(checkpoint.path, local_or(checkpoint.filesystem))
        value = self._improvement(trial.last_result)
        if self.verify:
            self._add(trial.trial_id, verify_one, source.kept_for("verify"))
        if self.convert == "all" or (self.convert == "best" and value is not None):
            self._add(trial.trial_id, convert_one, source.kept_for("convert"))
        if self.pin_best and value is not None:
            self._add(_PIN, pin_one, source.kept_for("pin"), self._pinning(trial, source, value))
        if self._pruner is not None:
            self._pruner.add(trial.trial_id, source.path, trial.last_result)
            if self._pruner.policy.max_bytes is not None:
                self._add(trial.trial_id, measure, source.path, source.filesystem)

    @harmless
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Note a trial's last checkpoint for conversion."""
        if self.convert == "last" and trial.checkpoint:
            self._add(trial.trial_id, convert_last, _last(trial))

    on_trial_error = on_trial_complete

    @harmless
    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Take the results of jobs that ended; never waits."""
        self._note(self._running().results())
        self._prune(trials)

    @harmless
    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Wait for the jobs, see to it that none is missing, and write the report."""
        trials = list(trials)
        if not trials or not self._is_needed:
            return
        self._drain("Looking after checkpoints")
        self._add_what_is_missing(trials)
        self._drain("Completing")
        self._prune(trials, at_end=True)
        self._drain("Deleting checkpoints")
        for key in self._running().close():
            self._note([_lost(key, "the time was up")])
        self._report(trials[0])

    @harmless
    def get_state(self) -> dict[str, Any]:
        """Return what Tune shall keep with the sweep's state."""
        held = self._pruner.get_state() if self._pruner else []
        outcomes = [asdict(outcome) for outcome in self.outcomes]
        kept = {"best": self._best, "outcomes": outcomes, "held": held}
        return {**kept, SCHEDULER: self._scheduler()}

    @harmless
    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what Tune kept; what it lacks is found in storage when the sweep ends."""
        self.memory.packed = self.memory.packed or state.get(SCHEDULER)
        self._best = state["best"]
        self.outcomes = [Outcome(**outcome) for outcome in state["outcomes"]]
        self._has_results = True  # it has gone on from there before
        if self._pruner is not None:
            self._pruner.set_state(state.get("held", []))

    # --------------------------------------------------------------------------- the work

    def _scheduler(self) -> bytes | None:
        try:
            return self.memory.snapshot()
        except Exception:  # such as a scheduler that holds what cannot be pickled
            logger.exception("tune_ckpt: the scheduler's state is not kept; the sweep goes on")
            return None

    @property
    def _is_needed(self) -> bool:
        return super()._is_needed or self._pruner is not None

    def _running(self) -> JobQueue:
        if self._queue is None:  # a hook before setup: none of Tune's, but a caller's
            self._queue = JobQueue(self.max_concurrent, _lost)
        return self._queue

    def _add(self, key: str, job: Callable[..., list[Any]], *args: Any) -> None:
        self._running().add(key, job, *args)

    def _pinning(self, trial: Any, source: Source, value: float) -> Pinning:
        assert self.metric is not None
        experiment, _ = experiment_folder(trial)
        facts = Pinned(
            metric=self.metric.name,
            mode=self.metric.mode,
            value=value,
            trial_id=trial.trial_id,
            iteration=trial.last_result.get("training_iteration"),
            checkpoint=within(experiment, source.path),
            folder="",
            config=dict(trial.config),
            metrics={key: item for key, item in trial.last_result.items() if key != "config"},
        )
        return Pinning(experiment, facts, as_msgpack=self.convert != "never")

    def _prune(self, trials: Iterable[Any], *, at_end: bool = False) -> None:
        """Queue the deletion of what may go."""
        if self._pruner is None or not (self._pruner.has_news or at_end):
            return
        by_id = {str(trial.trial_id): trial for trial in trials}
        live = live_trials(by_id.values())
        in_use = {path for path in map(latest_of, (by_id[name] for name in live)) if path}
        if live:
            in_use |= exploitable()
        for one, newest in self._pruner.take_doomed(live, in_use):
            trial = by_id[one.trial]
            self._add(trial.trial_id, prune, one, newest, trial_folder(trial)[1])

    def _add_what_is_missing(self, trials: list[Any]) -> None:
        """Queue what a killed driver, a deleted or rewritten checkpoint left undone."""
        experiment, filesystem = experiment_folder(trials[0])
        if self.convert == "best":
            self._add(_PIN, convert_best, experiment, self.metric, filesystem)
        if self.pin_best:
            as_msgpack = self.convert != "never"
            self._add(_PIN, pin_best, experiment, self.metric, as_msgpack, filesystem)
        for trial in trials:
            if self.convert in ("all", "at end"):
                self._add(trial.trial_id, convert_all, *trial_folder(trial))
            elif self.convert == "last" and trial.checkpoint:
                self._add(trial.trial_id, convert_last, _last(trial))
        if filesystem is None:
            self._add(_TIDY, tidy, [trial_folder(trial)[0] for trial in trials])

    def _drain(self, what: str) -> None:
        queue = self._running()
        if not len(queue):
            return
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=len(queue))
            for outcomes in queue.drain(self.drain_timeout_secs):
                self._note([outcomes])
                progress.advance(task)

    def _note(self, results: Iterable[list[Outcome | Measured]]) -> None:
        for outcome in (outcome for outcomes in results for outcome in outcomes):
            if isinstance(outcome, Measured):
                if self._pruner is not None:
                    self._pruner.measured(outcome)
                continue
            if self._pruner is not None:
                self._pruner.ended(outcome)
            if outcome.status == "failed":
                logger.warning("tune_ckpt: %s: %s", outcome.action, outcome)
            if outcome.status != "up to date":
                self.outcomes.append(outcome)

    def _report(self, trial: Any) -> None:
        folder, filesystem = experiment_folder(trial)
        open_store(folder, filesystem).write_bytes(REPORT, report_json(self.outcomes))
        print(f"{Summary.of(self.outcomes)}\n  each of them in {folder}/{REPORT}")


def _last(trial: Any) -> Source:
    return Source(trial.checkpoint.path, local_or(trial.checkpoint.filesystem))


def _lost(key: str, reason: str) -> list[Outcome | Measured]:
    return [failed(f"(trial {key})", "hook", reason)]


class EnvironmentCallback(CheckpointCallback):
    """A `CheckpointCallback` for a sweep whose code does not name one, such as a restored one.

    ``RAY_TUNE_CALLBACKS=tune_ckpt.EnvironmentCallback`` adds it to every sweep of the process; its
    options are a JSON object: ``TUNE_CKPT_CALLBACK='{"convert": "best", "metric": "eval/acc"}'``.

    Raises:
        InvalidArgumentError: They are none, or an option has no such value.
    """

    def __init__(self) -> None:
        text = os.environ.get(ENVIRONMENT, "{}")
        try:
            super().__init__(**json.loads(text))
        except (ValueError, TypeError) as error:
            expected = ("a JSON object of CheckpointCallback's options",)
            raise InvalidArgumentError(ENVIRONMENT, text, expected) from error
