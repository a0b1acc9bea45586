"""Metrics by name: one resolver for ranking, keeping and reporting alike.

A name such as ``eval/acc`` is looked for as that literal key and as a path of nested dicts (or a
mixture). Numbers are compared; truth values count as 0 and 1, as in Tune. NaN, None, text and
anything else is no value, so it never wins.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tune_ckpt.errors import AmbiguousMetricError, InvalidArgumentError

MODES = ("max", "min")


@dataclass(frozen=True)
class Metric:
    """What to rank by.

    Attributes:
        name: The metric's name, ``a/b`` for nested ones.
        mode: ``"max"`` or ``"min"``.

    Raises:
        InvalidArgumentError: There is no such mode, or the name is none.
    """

    name: str
    mode: str = "max"

    def __post_init__(self) -> None:
        """Refuse what cannot be ranked by."""
        if not isinstance(self.name, str) or not self.name:
            raise InvalidArgumentError("metric", self.name, ("the name of a reported metric",))
        if self.mode not in MODES:
            raise InvalidArgumentError("mode", self.mode, MODES)

    def value(self, metrics: Mapping[str, Any], where: str = "a result") -> float | None:
        """Return the metric's value in one result, or None where it has none that counts.

        Args:
            metrics: The result.
            where: What to call it in messages.

        Raises:
            AmbiguousMetricError: The name fits two places in the result.
        """
        return number(self.find(metrics, where))

    def find(self, metrics: Mapping[str, Any], where: str = "a result") -> Any:
        """Return whatever stands under the metric's name in one result; None where nothing does.

        Raises:
            AmbiguousMetricError: The name fits two places in the result.
        """
        found = list(_places(metrics, self.name))
        if len(found) > 1:
            raise AmbiguousMetricError(self.name, where)
        return found[0] if found else None

    def cost(self, value: float) -> float:
        """Return a number that is the lower, the better the value."""
        return -value if self.mode == "max" else value

    def better(self, value: float, than: float | None) -> bool:
        """Say whether a value beats another; any beats None, and equals do not beat each other."""
        return than is None or self.cost(value) < self.cost(than)


def _places(metrics: Mapping[str, Any], name: str) -> Iterator[Any]:
    if name in metrics:
        yield metrics[name]
    head, slash, rest = name.partition("/")
    while slash:
        inner = metrics.get(head)
        if isinstance(inner, Mapping):
            yield from _places(inner, rest)
        more, slash, rest = rest.partition("/")
        head = f"{head}/{more}"


def number(value: Any) -> float | None:
    """Return a value as a float where it is a number other than NaN; else None."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, numbers.Real | np.bool_):
        return None
    real: Any = value
    try:
        result = float(real)
    except OverflowError:  # an int beyond all floats
        result = math.inf if real > 0 else -math.inf
    return None if math.isnan(result) else result


def whole(value: Any) -> int | None:
    """Return a value as an int, such as an iteration; None where it is no number, or infinite."""
    found = number(value)
    return None if found is None or math.isinf(found) else int(found)


def names(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of a result's numbers, nested ones as ``a/b``, without its config."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            if prefix or key != "config":
                yield from names(value, f"{prefix}{key}/")
        elif number(value) is not None:
            yield f"{prefix}{key}"


def nearest_first(wanted: str, available: Iterable[str]) -> tuple[str, ...]:
    """Return names ordered by their likeness to the one that was asked for."""
    leaf = wanted.rpartition("/")[2]

    def likeness(name: str) -> float:
        """Return how like the wanted name another one is."""
        whole = difflib.SequenceMatcher(None, wanted.lower(), name.lower()).ratio()
        end = difflib.SequenceMatcher(None, leaf.lower(), name.rpartition("/")[2].lower()).ratio()
        return max(whole, end)

    return tuple(sorted(set(available), key=lambda name: (-likeness(name), name)))
