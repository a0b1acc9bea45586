"""The Tune callback: converts a sweep's pickle checkpoints to msgpack while it runs.

Its hooks run on the driver's event loop, where an exception makes Tune forget a checkpoint and a
pause holds up every trial. So they only note what is to be done; Ray tasks that need no CPU do it,
a few at a time, in order for each trial. A conversion goes beside the original
(``<trial>/msgpack/checkpoint_N``): ``checkpoint_N`` itself is Tune's, to be deleted or rewritten.
"""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Literal, TypeVar, get_args

from ray.tune import Callback
from rich.console import Console
from rich.progress import Progress

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.metrics import Metric
from tune_ckpt.tree.store import open_store
from tune_ckpt.tune.beside import (
    Outcome,
    convert_all,
    convert_best,
    convert_last,
    convert_one,
    snapshot,
)
from tune_ckpt.tune.private import experiment_folder, local_or, trial_folder
from tune_ckpt.tune.scheduler_memory import SchedulerMemory
from tune_ckpt.tune.tasks import TaskQueue

logger = logging.getLogger(__name__)

Convert = Literal["never", "best", "last", "all"]
REPORT = "tune_ckpt_report.json"
SCHEDULER = "scheduler"  # the key of the state under which the scheduler's snapshot is
Hook = TypeVar("Hook", bound=Callable[..., None])


def _harmless(hook: Hook) -> Hook:
    """Keep a hook's failure out of the sweep: log it and put it into the report."""

    @functools.wraps(hook)
    def safe(self: CheckpointCallback, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            logger.exception("tune_ckpt: %s failed; the sweep goes on", hook.__name__)
            self.outcomes.append(Outcome("", "failed", f"{hook.__name__}: {error!r}"))

    return safe  # type: ignore[return-value]


class CheckpointCallback(Callback):
    """Converts checkpoints to msgpack beside the originals, off the driver's event loop.

    It also keeps the scheduler's state with the sweep's, which Tune forgets: `tune_ckpt.resume`
    goes on with it exactly. For that alone it needs no arguments.

    Give it to ``tune.RunConfig(callbacks=[...])``; or, to add one to a sweep that is restored, name
    it in the environment: ``RAY_TUNE_CALLBACKS=tune_ckpt.CheckpointCallback``.

    Args:
        convert: Which checkpoints: ``"never"``; the ``"best"`` of all trials by ``metric`` and
            ``mode``; each trial's ``"last"``; or ``"all"``.
        metric: The metric's name, ``a/b`` for nested ones.
        mode: ``"max"`` or ``"min"``.
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
        self.memory = SchedulerMemory()
        # Made in setup: the callback is pickled when the Tuner is made.
        self._queue: TaskQueue | None = None

    # ------------------------------------------------------------------------- Tune's hooks

    @_harmless
    def setup(self, *args: Any, **info: Any) -> None:
        """Make what cannot be pickled, and bring the scheduler back where a sweep is resumed."""
        self._queue = TaskQueue(self.max_concurrent, _lost)
        self.memory.attach()

    @_harmless
    def on_checkpoint(
        self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        """Note a new checkpoint for conversion."""
        if self.convert == "all" or (self.convert == "best" and self._improves(trial, checkpoint)):
            path, filesystem = checkpoint.path, local_or(checkpoint.filesystem)
            self._add(trial, convert_one, path, filesystem, snapshot(path, filesystem))

    @_harmless
    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Note a trial's last checkpoint for conversion."""
        if self.convert == "last" and trial.checkpoint:
            checkpoint = trial.checkpoint
            self._add(trial, convert_last, checkpoint.path, local_or(checkpoint.filesystem))

    on_trial_error = on_trial_complete

    @_harmless
    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Take the results of conversions that ended and start the next; never waits."""
        self._note(self._running().advance())

    @_harmless
    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """Wait for the conversions, see to it that none is missing, and write the report."""
        if self.convert == "never" or not trials:
            return
        self._drain("Converting checkpoints")
        self._add_what_is_missing(trials)
        self._drain("Checking conversions")
        for key in self._running().give_up():
            self._note([[Outcome(f"(trial {key})", "failed", "the time for conversions was up")]])
        self._report(trials)

    def get_state(self) -> dict[str, Any]:
        """Return what Tune shall keep with the sweep's state."""
        outcomes = [asdict(outcome) for outcome in self.outcomes]
        return {"best": self._best, "outcomes": outcomes, SCHEDULER: self._scheduler()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what Tune kept; what it lacks is found in storage when the sweep ends."""
        self._best = state["best"]
        self.outcomes = [Outcome(**outcome) for outcome in state["outcomes"]]
        self.memory.packed = self.memory.packed or state.get(SCHEDULER)

    # --------------------------------------------------------------------------- the work

    def _scheduler(self) -> bytes | None:
        try:
            return self.memory.snapshot()
        except Exception:  # such as a scheduler that holds what cannot be pickled
            logger.exception("tune_ckpt: the scheduler's state is not kept; the sweep goes on")
            return None

    def _running(self) -> TaskQueue:
        if self._queue is None:  # a hook before setup: none of Tune's, but a caller's
            self._queue = TaskQueue(self.max_concurrent, _lost)
        return self._queue

    def _add(self, trial: Any, job: Callable[..., list[Outcome]], *args: Any) -> None:
        self._running().add(str(trial.trial_id), job, *args)

    def _improves(self, trial: Any, checkpoint: Any) -> bool:
        assert self.metric is not None
        value = self.metric.value(trial.last_result)
        if value is None or (self._best and not self.metric.better(value, self._best[0])):
            return False
        self._best = (value, checkpoint.path)
        return True

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

    def _note(self, results: Iterable[list[Outcome]]) -> None:
        for outcome in (outcome for outcomes in results for outcome in outcomes):
            if outcome.status == "failed":
                logger.warning(
                    "tune_ckpt: %s was not converted: %s", outcome.checkpoint, outcome.detail
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
