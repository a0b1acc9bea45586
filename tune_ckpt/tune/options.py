"""What a callback can be told to do with checkpoints: the same for a sweep and for a Train run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.outcomes import Outcome

if TYPE_CHECKING:
    from typing_extensions import TypedDict

    class Options(TypedDict, total=False):
        """The options beside ``convert``, for callbacks that have more of them."""

        metric: str | None
        mode: str
        verify: bool
        pin_best: bool
        drain_timeout_secs: float


Convert = Literal["never", "best", "last", "all", "at end"]


class CheckpointOptions:
    """The options of `CheckpointCallback` and `TrainCheckpointCallback`.

    A "run" is a sweep of Tune's or a run of Train's; of the latter there is one trial: itself.

    Args:
        convert: Which checkpoints are written again as msgpack, beside the originals: ``"never"``;
            the ``"best"`` of the run by ``metric`` and ``mode``; each trial's ``"last"``;
            ``"all"``; or ``"at end"``, all that are left when the run ends.
        metric: The metric's name, ``a/b`` for nested ones; of Train's workers that of rank 0.
        mode: ``"max"`` or ``"min"``.
        verify: Check every byte of every checkpoint, once it is in storage.
        pin_best: Keep a copy of the best checkpoint so far, by ``metric`` and ``mode``, in
            ``<run>/best/``, for other processes to follow: `tune_ckpt.pinned_checkpoint`.
            It is msgpack where checkpoints are converted.
        drain_timeout_secs: How long the end of the run may wait for the work.

    Attributes:
        outcomes: What became of each checkpoint, in order. Also written to
            ``tune_ckpt_report.json`` in the run's folder.

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
