"""What a callback can be told to do with checkpoints: the same for a sweep and for a Train run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.resuming.source import Owner

Convert = Literal["never", "best", "last", "all", "at end"]


class CheckpointOptions:
    """The options that `CheckpointCallback` and `TrainCheckpointCallback` share; see there.

    A "run" is a sweep of Tune's or a run of Train's; of the latter there is one trial: itself.

    Attributes:
        outcomes: What became of each checkpoint, in order. Also written to
            ``tune_ckpt_report.json`` in the run's folder.
        owner: Tells its snapshots of checkpoints from others.
    """

    def __init__(
        self,
        convert: Convert = "never",
        *,
        metric: str | None = None,
        mode: str = "max",
        verify: bool = False,
        pin_best: bool = False,
        drain_timeout_secs: float = 600.0,
    ) -> None:
        if convert not in get_args(Convert):
            raise InvalidArgumentError("convert", convert, get_args(Convert))
        if metric is None and (convert == "best" or pin_best):
            raise InvalidArgumentError("metric", metric, ("the metric that says what is best",))
        self.convert: Convert = convert
        self.metric = Metric(metric, mode) if metric else None
        self.verify = verify
        self.pin_best = pin_best
        self.drain_timeout_secs = drain_timeout_secs
        self.outcomes: list[Outcome] = []
        self.owner = Owner()
        self._best: float | None = None

    @property
    def _is_needed(self) -> bool:
        return self.convert != "never" or self.verify or self.pin_best

    def _improvement(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the metrics' value of what is best, if it is the best so far."""
        value = self.metric.value(metrics) if self.metric else None
        if value is None or self.metric is None or not self.metric.better(value, self._best):
            return None
        self._best = value
        return value
