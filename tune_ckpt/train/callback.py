"""The callback for Ray Train V2: checks and converts a run's checkpoints while it trains.

Its hooks run on the controller's event loop, where an exception ends the run and a pause holds up
every worker's report. So they only note what is to be done; an actor does it (see
`tune_ckpt.train.converter`). Ray Train tells no callback that a run has ended, so `wait` is for the
driver to call.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any, Literal, get_args

import ray
from ray.train import UserCallback

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.metrics import Metric
from tune_ckpt.train.converter import Job, start_converter
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.private import local_or
from tune_ckpt.tune.source import Source
from tune_ckpt.tune.trainable import plain_metrics

logger = logging.getLogger(__name__)
Convert = Literal["never", "best", "last", "all"]
_HANDOVER_SECS = 10.0  # takes a millisecond, once the actor runs


class TrainCheckpointCallback(UserCallback):
    """Converts a Train run's checkpoints to msgpack beside the originals, and verifies them.

    Give it to ``ray.train.RunConfig(callbacks=[...])``. A conversion goes to
    ``<run>/msgpack/<checkpoint>`` and has the metrics of its report in its metadata. What fails is
    logged and reported; the run's result stays the same, whatever happens here. Checkpoints that
    `tune_ckpt.report` writes are msgpack already.

    Args:
        convert: Which checkpoints: ``"never"``; the ``"best"`` by ``metric`` and ``mode``; the
            ``"last"``; or ``"all"``.
        metric: The metric's name, ``a/b`` for nested ones; that of rank 0 counts.
        mode: ``"max"`` or ``"min"``.
        verify: Check every byte of each checkpoint after it was reported.

    Attributes:
        outcomes: What became of each checkpoint, once `wait` was called.

    Raises:
        InvalidArgumentError: An option has no such value, or ``"best"`` lacks its metric.
    """

    def __init__(
        self,
        convert: Convert = "never",
        *,
        metric: str | None = None,
        mode: str = "max",
        verify: bool = False,
    ) -> None:
        if convert not in get_args(Convert):
            raise InvalidArgumentError("convert", convert, get_args(Convert))
        if convert == "best" and metric is None:
            raise InvalidArgumentError("metric", metric, ("the metric that says what is best",))
        self.convert = convert
        self.metric = Metric(metric, mode) if metric else None
        self.verify = verify
        self.outcomes: list[Outcome] = []
        self._best: float | None = None
        self._name = f"tune_ckpt-{uuid.uuid4().hex}"  # of the actor, for controller and driver

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start the actor as soon as this is in the controller: long before the first report."""
        self.__dict__.update(state)
        if ray.is_initialized() and (self.convert != "never" or self.verify):
            start_converter(self._name)

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        """Note a new checkpoint; called by Ray Train."""
        try:
            if checkpoint is not None:
                self._note(metrics[0], checkpoint)
        except Exception:
            logger.exception("tune_ckpt: a checkpoint was passed over; the run goes on")

    def wait(self, timeout_secs: float = 600.0) -> list[Outcome]:
        """Wait until all checkpoints reported so far are done with; for the driver, after fit().

        Args:
            timeout_secs: How long to wait.

        Returns:
            What became of each checkpoint, also written to ``tune_ckpt_report.json`` in the run's
            folder.

        Raises:
            GetTimeoutError: Ray's, a TimeoutError: it is not all done by then; it goes on.
        """
        try:
            actor = ray.get_actor(self._name)
        except ValueError:  # nothing was to be done, or all of it long ago
            return self.outcomes
        self.outcomes += ray.get(actor.outcomes.remote(), timeout=timeout_secs)
        actor.__ray_terminate__.remote()
        return self.outcomes

    def _note(self, metrics: Mapping[str, Any], checkpoint: Any) -> None:
        convert = self.convert in ("all", "last") or self._improves(metrics)
        if not convert and not self.verify:
            return
        source = Source(checkpoint.path, local_or(checkpoint.filesystem))
        job = Job(
            source.kept_for("convert") if convert else source,
            plain_metrics(dict(metrics)),
            convert=convert,
            keep="exists" if self.convert == "all" else "this",
            verify=self.verify,
        )
        # What is still on its way when the controller ends is lost: see that it has arrived.
        ray.get(start_converter(self._name).take.remote(job), timeout=_HANDOVER_SECS)

    def _improves(self, metrics: Mapping[str, Any]) -> bool:
        if self.convert != "best" or self.metric is None:
            return False
        value = self.metric.value(metrics)
        if value is None or not self.metric.better(value, self._best):
            return False
        self._best = value
        return True
