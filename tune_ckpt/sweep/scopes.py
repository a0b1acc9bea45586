"""Tune's scopes: which of a trial's values count when trials are compared.

Ray's own figures differ in two ways: its ``avg`` weighs results by their iteration where those do
not count 1, 2, 3, and one NaN makes it, and any later ``max`` or ``min``, wrong. Here only numbers
count, each once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric


@dataclass(frozen=True)
class Scope:
    """How a trial's values become one.

    Attributes:
        name: Its name, as in Tune.
        score: Makes one value of many, in the order in which they were reported.
        newest_first: Whether the value speaks of the trial's end, so that its newest checkpoint is
            meant; else its best.
    """

    name: str
    score: Callable[[Metric, Sequence[float]], float]
    newest_first: bool

    @classmethod
    def named(cls, name: str | None) -> Scope | None:
        """Return the scope of that name; None for None, where each checkpoint stands for itself.

        Raises:
            InvalidArgumentError: There is no such scope.
        """
        if name is None:
            return None
        found = next((scope for scope in SCOPES if scope.name == name), None)
        if found is None:
            raise InvalidArgumentError("scope", name, [None, *(scope.name for scope in SCOPES)])
        return found


def _mean_of_last(count: int) -> Callable[[Metric, Sequence[float]], float]:
    return lambda metric, values: fmean(values[-count:])


SCOPES = (
    Scope("last", lambda metric, values: values[-1], newest_first=True),
    Scope("avg", lambda metric, values: fmean(values), newest_first=False),
    Scope("last-5-avg", _mean_of_last(5), newest_first=True),
    Scope("last-10-avg", _mean_of_last(10), newest_first=True),
    Scope("all", lambda metric, values: min(values, key=metric.cost), newest_first=False),
)
