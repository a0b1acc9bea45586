"""The callback for Ray Train V2: looks after a run's checkpoints while it trains.

Its hooks run on the controller's event loop, where an exception ends the run and a pause holds up
every worker's report. So they only leave a call to a thread, which hands over to an actor what is
to be done (see `tune_ckpt.train.converter`). Ray Train tells no callback that a run has ended, so
`wait` is for the driver to call.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import TIMEOUT_MAX
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.train import UserCallback

from tune_ckpt.sweep.as_json import plain, plain_metrics
from tune_ckpt.train.converter import Job, Run, start_converter
from tune_ckpt.train.jobs import Wanted, convert_reported, pin_reported
from tune_ckpt.train.later import Later
from tune_ckpt.tree.progress import steps_bar
from tune_ckpt.tune.harmless import harmless
from tune_ckpt.tune.jobs import verify_one
from tune_ckpt.tune.options import CheckpointOptions
from tune_ckpt.tune.outcomes import REPORT, TIMEOUT, Outcome, Summary, failed, given_up
from tune_ckpt.tune.pinning import Pinning
from tune_ckpt.tune.private import local_or
from tune_ckpt.tune.source import Source

logger = logging.getLogger(__name__)
_ANSWER_SECS = 60.0  # what the actor and the thread are asked takes milliseconds
_LOOK_SECS = 1.0
_SIGN_SECS = 60.0  # the actor bears ten minutes without one


class TrainCheckpointCallback(CheckpointOptions, UserCallback):
    """Converts, verifies and pins a Train run's checkpoints, off the controller's event loop.

    Give it to ``ray.train.RunConfig(callbacks=[...])``. A conversion goes to
    ``<run>/msgpack/<checkpoint>`` and has the metrics of its report in its metadata. What fails is
    logged and reported; the run's result stays the same, whatever happens here. Checkpoints that
    `tune_ckpt.report` writes are msgpack already.

    After ``fit()`` call ``callback.wait(result)``. Otherwise the work that is due at the end of the
    run begins ten minutes later, if Ray is still running.

    Args:
        convert: Which checkpoints are written again as msgpack, beside the originals: ``"never"``;
            the ``"best"`` of the run by ``metric`` and ``mode``; the ``"last"``; ``"all"``; or
            ``"at end"``, all that are left when the run ends. Any other conversions are deleted, so
            callbacks of one run must agree on which they make.
        metric: The metric's name, ``a/b`` for nested ones; that of the worker with rank 0.
        mode: ``"max"`` or ``"min"``.
        verify: Check every byte of every checkpoint, once it is in storage.
        pin_best: Keep a copy of the best checkpoint so far, by ``metric`` and ``mode``, in
            ``<run>/best/``, for other processes to follow: `tune_ckpt.pinned_checkpoint`.
            It is msgpack where checkpoints are converted.
        drain_timeout_secs: How long the end of the run may wait for the work.

    Raises:
        InvalidArgumentError: An option has no such value, or the metric is missing.
    """

    def __post_init__(self) -> None:
        """Name the actor."""
        super().__post_init__()
        self._name = f"tune_ckpt-{uuid.uuid4().hex}"  # of the actor, for controller and driver
        self._later = Later()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start the actor as soon as this is in the controller: long before the first report."""
        self.__dict__.update(state)
        if self._is_needed and ray.is_initialized():
            self._later.when_idle(_SIGN_SECS, self._give_sign)
            self._later.call(self._converter)

    @harmless
    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        """Note what is to be done with a new checkpoint; called by Ray Train."""
        if checkpoint is not None and self._is_needed:
            config = getattr(run_context, "train_loop_config", None)
            self._later.call(self._hand_over, checkpoint, metrics[0], config)

    def wait(self, result: Any = None, *, timeout_secs: float | None = None) -> list[Outcome]:
        """Wait until all is done, print a summary, and return it in full; for the driver.

        What a killed controller or actor left undone is found in storage and done now.

        Args:
            result: What ``fit()`` returned, or ``ray.train.Result.from_path(...)`` of a run whose
                driver was killed. Without it only what the actor was told of is looked after.
            timeout_secs: How long to wait; by default ``drain_timeout_secs``. What takes longer
                goes on, and is reported as not done.

        Returns:
            What became of each checkpoint, also written to ``tune_ckpt_report.json`` in the run's
            folder.
        """
        if not self._is_needed:
            return self.outcomes
        self._later.flush(_ANSWER_SECS)
        try:
            actor = self._found(result)
            if actor is not None:
                secs = self.drain_timeout_secs if timeout_secs is None else timeout_secs
                self._drain(actor, secs, _run_of(result))
        except RayError as error:
            is_late = isinstance(error, GetTimeoutError)
            late = given_up("the process of the jobs did not answer")
            self.outcomes.append(late if is_late else failed("", "hook", error))
            logger.warning("tune_ckpt: %s", self.outcomes[-1])
        return self.outcomes

    # --------------------------------------------------------------------------- the work

    def _hand_over(self, checkpoint: Any, metrics: Mapping[str, Any], config: Any) -> None:
        source = Source(checkpoint.path, local_or(checkpoint.filesystem))
        jobs = [*self._jobs(source, metrics, config)]
        # Even without a job the actor has to know the run, for its end. Nobody waits until it has
        # started: the next checkpoint needs its snapshot. What is lost on its way is found in
        # storage at the end.
        run = source.trial, source.filesystem
        self._converter().take.remote(run, source.name, jobs)

    def _give_sign(self) -> None:
        """Have the actor stay: it may be long until the next checkpoint."""
        with suppress(ValueError):  # it is gone: the driver needs it no more
            ray.get_actor(self._name).stay.remote()

    def _converter(self) -> Any:
        wanted = Wanted(self.convert, self.ranked_by, self.verify, self.pin_best, self.owner)
        return start_converter(self._name, wanted)

    def _found(self, result: Any) -> Any:
        """Return the actor; None where there is nothing to be done, or it was, long ago."""
        if result is not None:
            return self._converter()
        try:
            return ray.get_actor(self._name)
        except ValueError:
            return None

    def _jobs(self, source: Source, metrics: Mapping[str, Any], config: Any) -> Iterator[Job]:
        value = self._improvement(metrics)
        improves = value is not None
        if self.verify:
            yield verify_one, (source.kept_for("verify", self.owner),)
        if self.convert in ("all", "last") or (self.convert == "best" and improves):
            keep_others = self.convert == "all"
            kept = source.kept_for("convert", self.owner)
            yield convert_reported, (kept, plain_metrics(metrics), keep_others)
        if self.pin_best and value is not None:
            pinning = self._pinning(source, value, metrics, config)
            yield pin_reported, (source.kept_for("pin", self.owner), pinning)

    def _pinning(
        self, source: Source, value: float, metrics: Mapping[str, Any], config: Any
    ) -> Pinning:
        assert self.ranked_by is not None
        return Pinning.of(
            *(source.trial, source.path, self.ranked_by),
            as_msgpack=self.convert != "never",
            value=value,
            trial_id=Source(source.trial).name,
            iteration=metrics.get("training_iteration"),
            config=plain(config or {}),
            metrics=plain(metrics),
        )

    def _drain(self, actor: Any, secs: float, run: Run | None) -> None:
        secs = min(secs, TIMEOUT_MAX)  # it may be infinite
        deadline = time.monotonic() + secs
        # One call, not two: an actor that is started again may be asked the second one first.
        left = count = ray.get(actor.finish.remote(run), timeout=secs)
        with steps_bar("Looking after checkpoints", count, shown=count > 0) as advance:
            while left and time.monotonic() < deadline:
                asked = actor.left.remote(left, _LOOK_SECS)
                before, left = left, ray.get(asked, timeout=_LOOK_SECS + _ANSWER_SECS)
                advance(before - left)
        found, run = ray.get(actor.outcomes.remote(), timeout=_ANSWER_SECS)
        former = [old for old in self.outcomes if old not in found and old.cause != TIMEOUT]
        late = [given_up(f"jobs: {left} not done")] if left else []
        self.outcomes = [*former, *found, *late]
        if not left:
            ray.kill(actor)
        if run is not None:
            print(f"{Summary.of(self.outcomes)}\n  each of them in {run[0]}/{REPORT}")


def _run_of(result: Any) -> Run | None:
    if result is None:
        return None
    return result.path, local_or(result.filesystem) if result.filesystem else None
