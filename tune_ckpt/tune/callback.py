"""The Tune callback: converts a sweep's pickle checkpoints to msgpack, and deletes what may go.

Its hooks run on the driver's event loop, where an exception makes Tune forget a checkpoint and a
pause holds up every trial. So they only note what is to be done; Ray tasks that need no CPU do it,
a few at a time, in order for each trial. A conversion goes beside the original
(``<trial>/msgpack/checkpoint_N``): ``checkpoint_N`` itself is Tune's, to be deleted or rewritten.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Literal, get_args

from ray.tune import Callback
from rich.console import Console
from rich.progress import Progress

from tune_ckpt.errors import InvalidArgumentError, UnknownMetricError
from tune_ckpt.metrics import Metric, names, nearest_first
from tune_ckpt.tree.store import open_store
from tune_ckpt.tune.beside import (
    Outcome,
    convert_all,
    convert_best,
    convert_last,
    convert_one,
    snapshot,
)
from tune_ckpt.tune.harmless import harmless
from tune_ckpt.tune.private import (
    checkpoint_config,
    experiment_folder,
    exploitable,
    latest_of,
    local_or,
    trial_folder,
)
from tune_ckpt.tune.pruning import Measured, Pruner, live_trials, measure, prune
from tune_ckpt.tune.retention import Retention, deletes_the_best
from tune_ckpt.tune.tasks import TaskQueue

logger = logging.getLogger(__name__)

Convert = Literal["never", "best", "last", "all"]
REPORT = "tune_ckpt_report.json"


class CheckpointCallback(Callback):
    """Converts checkpoints to msgpack beside the originals, and deletes what need not be kept.

    All of it happens off the driver's event loop.

    Give it to ``tune.RunConfig(callbacks=[...])``; or, to add one to a sweep that is restored, name
    it in the environment: ``RAY_TUNE_CALLBACKS=tune_ckpt.CheckpointCallback``.

    Args:
        convert: Which checkpoints: ``"never"``; the ``"best"`` of all trials by ``metric`` and
            ``mode``; each trial's ``"last"``; or ``"all"``.
        metric: The metric's name, ``a/b`` for nested ones.
        mode: ``"max"`` or ``"min"``.
        retention: Which checkpoints the sweep keeps; by default all that Tune keeps.
        max_concurrent: How many conversions may run at once.
        drain_timeout_secs: How long the end of the sweep may wait for conversions to end.

    Attributes:
        outcomes: What became of each checkpoint, in order. Also written to
            ``tune_ckpt_report.json`` in the sweep's folder when it ends.

    Raises:
        InvalidArgumentError: An option has no such value, or ``"best"`` lacks its metric.
    """

    def __init__(
        self,
        convert: Convert = "never",
        *,
        metric: str | None = None,
        mode: str = "max",
        retention: Retention | None = None,
        max_concurrent: int = 2,
        drain_timeout_secs: float = 600.0,
    ) -> None:
        if convert not in get_args(Convert):
            raise InvalidArgumentError("convert", convert, get_args(Convert))
        if convert == "best" and metric is None:
            raise InvalidArgumentError("metric", metric, ("the metric that says what is best",))
        self.convert = convert
        self.metric = Metric(metric, mode) if metric else None
        self.max_concurrent = max_concurrent
        self.drain_timeout_secs = drain_timeout_secs
        self.outcomes: list[Outcome] = []
        self._best: tuple[float, str] | None = None
        self._pruner = Pruner(retention) if retention else None
        self._has_results = False
        self._warned = False
        # Made in setup: the callback is pickled when the Tuner is made.
        self._queue: TaskQueue | None = None

    # ------------------------------------------------------------------------- Tune's hooks

    @harmless
    def setup(self, *args: Any, **info: Any) -> None:
        """Make what cannot be pickled."""
        self._queue = TaskQueue(self.max_concurrent, _lost)

    @harmless
    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Warn where Tune's own setting would delete the best checkpoint."""
        metric = self._pruner.policy.ranked_by if self._pruner else self.metric
        reason = deletes_the_best(checkpoint_config(trial), metric) if metric else None
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
        """Note a new checkpoint for conversion."""
        if self.convert == "all" or (self.convert == "best" and self._improves(trial, checkpoint)):
            path, filesystem = checkpoint.path, local_or(checkpoint.filesystem)
            self._add(trial, convert_one, path, filesystem, snapshot(path, filesystem))
        if self._pruner is not None:
            self._pruner.add(str(trial.trial_id), checkpoint.path, trial.last_result)
            if self._pruner.policy.max_bytes is not None:
                self._add(trial, measure, checkpoint.path, local_or(checkpoint.filesystem))

    @harmless
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Note a trial's last checkpoint for conversion."""
        if self.convert == "last" and trial.checkpoint:
            checkpoint = trial.checkpoint
            self._add(trial, convert_last, checkpoint.path, local_or(checkpoint.filesystem))

    on_trial_error = on_trial_complete

    @harmless
    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Take the results of jobs that ended and start the next; never waits."""
        self._note(self._running().advance())
        self._prune(trials)

    @harmless
    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Wait for what is queued, see to it that nothing is missing, and write the report."""
        if not trials or (self.convert == "never" and self._pruner is None):
            return
        self._drain("Converting checkpoints")
        if self.convert != "never":
            self._add_what_is_missing(trials)
            self._drain("Checking conversions")
        self._prune(trials, at_end=True)
        self._drain("Deleting checkpoints")
        for key in self._running().give_up():
            self._note([[Outcome(f"(trial {key})", "failed", "the time for conversions was up")]])
        self._report(trials)

    def get_state(self) -> dict[str, Any]:
        """Return what Tune shall keep with the sweep's state."""
        held = self._pruner.get_state() if self._pruner else []
        outcomes = [asdict(outcome) for outcome in self.outcomes]
        return {"best": self._best, "outcomes": outcomes, "held": held}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what Tune kept; what it lacks is found in storage when the sweep ends."""
        self._best = state["best"]
        self.outcomes = [Outcome(**outcome) for outcome in state["outcomes"]]
        self._has_results = True  # it has gone on from there before
        if self._pruner is not None:
            self._pruner.set_state(state.get("held", []))

    # --------------------------------------------------------------------------- the work

    def _running(self) -> TaskQueue:
        if self._queue is None:  # a hook before setup: none of Tune's, but a caller's
            self._queue = TaskQueue(self.max_concurrent, _lost)
        return self._queue

    def _add(self, trial: Any, job: Callable[..., list[Any]], *args: Any) -> None:
        self._running().add(str(trial.trial_id), job, *args)

    def _improves(self, trial: Any, checkpoint: Any) -> bool:
        assert self.metric is not None
        value = self.metric.value(trial.last_result)
        if value is None or (self._best and not self.metric.better(value, self._best[0])):
            return False
        self._best = (value, checkpoint.path)
        return True

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
            self._add(trial, prune, one, newest, trial_folder(trial)[1])

    def _add_what_is_missing(self, trials: Iterable[Any]) -> None:
        """Queue what a killed driver, a deleted or rewritten checkpoint left undone."""
        trials = list(trials)
        if self.convert == "best":
            folder, filesystem = experiment_folder(trials[0])
            self._add(trials[0], convert_best, folder, self.metric, filesystem)
            return
        for trial in trials:
            if self.convert == "all":
                self._add(trial, convert_all, *trial_folder(trial))
            elif trial.checkpoint:
                self._add(trial, convert_last, trial.checkpoint.path, trial_folder(trial)[1])

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
                logger.warning(
                    "tune_ckpt: %s was not converted or deleted: %s",
                    *(outcome.checkpoint, outcome.detail),
                )
            if outcome.status != "up to date":
                self.outcomes.append(outcome)

    def _report(self, trials: Iterable[Any]) -> None:
        folder, filesystem = experiment_folder(next(iter(trials)))
        report = json.dumps([asdict(outcome) for outcome in self.outcomes], indent=2)
        open_store(folder, filesystem).write_bytes(REPORT, report.encode())
        counts = Counter(outcome.status for outcome in self.outcomes)
        summary = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
        logger.info("tune_ckpt: checkpoints: %s; details in %s", summary, REPORT)


def _lost(key: str, reason: str) -> list[Outcome]:
    return [Outcome(f"(trial {key})", "failed", f"its process died: {reason}")]
