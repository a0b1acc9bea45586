"""What a callback can be told to do with checkpoints: the same for a sweep and for a Train run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, get_args

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.arguments import check_secs, check_truth
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.source import Owner

Convert = Literal["never", "best", "last", "all", "at end"]


@dataclass(eq=False, repr=False)
class CheckpointOptions:
    """The options that `CheckpointCallback` and `TrainCheckpointCallback` share; see there.

    A "run" is a sweep of Tune's or a run of Train's; of the latter there is one trial: itself.

    Attributes:
        outcomes: What became of each checkpoint, in order. Also written to
            ``tune_ckpt_report.json`` in the run's folder.
        owner: Tells its snapshots of checkpoints from others.
    """

    convert: Convert = "never"
    _: KW_ONLY
    metric: str | None = None
    mode: str = "max"
    verify: bool = False
    pin_best: bool = False
    drain_timeout_secs: float = 600.0
    outcomes: list[Outcome] = field(init=False, default_factory=list)
    owner: Owner = field(init=False, default_factory=Owner)
    _best: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.convert not in get_args(Convert):
            raise InvalidArgumentError("convert", self.convert, get_args(Convert))
        check_truth("verify", self.verify)
        check_truth("pin_best", self.pin_best)
        check_secs("drain_timeout_secs", self.drain_timeout_secs)
        if self.ranked_by is None and self._seeks_best:
            raise InvalidArgumentError("metric", None, ("the metric that says what is best",))

    @property
    def ranked_by(self) -> Metric | None:
        """What is best."""
        return Metric(self.metric, self.mode) if self.metric else None

    @property
    def conversions(self) -> tuple[str, Metric | None] | None:
        """Of which checkpoints conversions stay in the end; None where none is made."""
        if self.convert == "never":
            return None
        kept = "all" if self.convert == "at end" else self.convert
        return kept, self.ranked_by if kept == "best" else None

    @property
    def _seeks_best(self) -> bool:
        return self.convert == "best" or self.pin_best

    @property
    def _is_needed(self) -> bool:
        return self.convert != "never" or self.verify or self.pin_best

    def _improvement(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the metrics' value of what is best, if it is the best so far."""
        goal = self.ranked_by
        value = goal.value(metrics) if goal else None
        if value is None or goal is None or not goal.better(value, self._best):
            return None
        self._best = value
        return value


def contradiction(callbacks: Iterable[Any]) -> InvalidArgumentError | None:
    """Return what is wrong with a run's callbacks that would delete each other's conversions."""
    ours = [each for each in callbacks if isinstance(each, CheckpointOptions)]
    if len({each.conversions for each in ours} - {None}) <= 1:
        return None
    expected = ("the same in all callbacks that convert: their conversions share a folder",)
    return InvalidArgumentError("convert", " and ".join(each.convert for each in ours), expected)
