"""Which checkpoints a sweep keeps, as its user says it.

Ray deletes the best checkpoint where its score is nested, or where some results lack it. Here what
is kept has roles, and whatever has one stays: the newest, the best, every so many, pinned ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.arguments import check_count, is_whole

Pins = Callable[[Mapping[str, Any]], bool] | Collection[int]

_UNITS: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{binary}B".upper(): (1024 if binary else 1000) ** power
    for power, letter in enumerate("KMGT", 1)
    for binary in ("", "i")
}
_SIZE = re.compile(r"\s*(\d+(?:_\d+)*(?:\.\d+)?)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True)
class Retention:
    """Which checkpoints a sweep keeps; give it to `CheckpointCallback`.

    A checkpoint that has any role is kept. Three kinds are never deleted: the newest one of a trial
    that is not finished (and none of that trial while the newest is damaged), those that a
    scheduler such as PBT may still exploit, and pinned ones. Tune's own ``num_to_keep`` must be
    left unset: it knows no roles.

    Args:
        keep_last: How many of each trial, the newest first.
        keep_best: How many of each trial, the best first. NaN and results without the metric come
            after every number.
        metric: What is best, ``a/b`` for nested ones.
        mode: ``"max"`` or ``"min"``.
        keep_every: Those after every so many iterations.
        pinned: Iterations; or a function that says of a result whether its checkpoint is pinned. It
            is not asked of a checkpoint whose result is recorded nowhere.
        max_bytes: A budget for the whole sweep, such as ``"50 GB"``. The best of all are kept, then
            the newest, and the rest is deleted, whatever role it has. A new checkpoint counts as
            soon as it is measured: for that moment the budget may be exceeded, but nothing is
            deleted needlessly.
        late_metric: Whether first results may lack the metric. By default a sweep whose first
            result lacks it is stopped at once, since its name may be misspelled.

    Raises:
        InvalidArgumentError: An option has no such value, or ``keep_best`` lacks its metric.
    """

    keep_last: int = 1
    keep_best: int = 0
    metric: str | None = None
    mode: str = "max"
    keep_every: int | None = None
    pinned: Pins = ()
    max_bytes: int | str | None = None
    late_metric: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_count("keep_last", self.keep_last, 0)
        check_count("keep_best", self.keep_best, 0)
        if self.keep_every is not None:
            check_count("keep_every", self.keep_every, 1)
        _check_pins(self.pinned)
        if self.keep_best and self.metric is None:
            raise InvalidArgumentError("metric", None, ("the metric that says what is best",))
        if self.metric is not None:
            Metric(self.metric, self.mode)
        _nbytes(self.max_bytes)

    @property
    def ranked_by(self) -> Metric | None:
        """What is best."""
        return None if self.metric is None else Metric(self.metric, self.mode)

    @property
    def budget_nbytes(self) -> float:
        """How much the whole sweep may take."""
        return _nbytes(self.max_bytes)

    def pins(self, iteration: int, metrics: Mapping[str, Any]) -> bool:
        """Say whether a checkpoint is pinned; of one whose result is lost there are no metrics."""
        if callable(self.pinned):
            return bool(metrics) and bool(self.pinned(metrics))
        return iteration in self.pinned


def _check_pins(pins: Any) -> None:
    if callable(pins) or isinstance(pins, range):  # which may be very long
        return
    is_text = isinstance(pins, str | bytes)
    if is_text or not isinstance(pins, Collection) or not all(map(is_whole, pins)):
        expected = ("iterations such as [7, 20]", "a function of a result")
        raise InvalidArgumentError("pinned", pins, expected)


def _nbytes(size: int | str | None) -> float:
    if size is None:
        return float("inf")
    found = _SIZE.fullmatch(str(size))
    if found is None or found[2].upper() not in _UNITS:
        expected = ("a number of bytes", "text such as '50 GB' or '512 MiB'", None)
        raise InvalidArgumentError("max_bytes", size, expected)
    return float(found[1]) * _UNITS[found[2].upper()]
