"""Whether metrics are what they should be, before anything is lost by a wrong one."""

from __future__ import annotations

import logging
from typing import Any

from tune_ckpt.errors import InvalidArgumentError, UnknownMetricError
from tune_ckpt.sweep.metrics import Metric, names, nearest_first
from tune_ckpt.tune.retention import Retention

logger = logging.getLogger(__name__)


def check_modes(own: Metric | None, retention: Retention | None) -> None:
    """Refuse a retention that would delete first what is best for the callback.

    Raises:
        InvalidArgumentError: It has the other mode for the callback's own metric.
    """
    kept = retention.ranked_by if retention else None
    if own and kept and own.name == kept.name and own.mode != kept.mode:
        expected = (f"one with mode={own.mode!r} for {own.name!r}, as the callback has it",)
        raise InvalidArgumentError("retention", retention, expected)


def warn_of_lacking(metric: Metric | None, result: Any) -> None:
    """Warn that a sweep's first result lacks a metric by which nothing is deleted."""
    error = _lacking(metric, result)
    if error is not None:  # it may come later
        logger.warning("tune_ckpt: nothing is the best yet. %s", error)


def refusal(retention: Retention | None, result: Any) -> UnknownMetricError | None:
    """Return what is wrong with a retention's metric, where a sweep's first result lacks it."""
    if retention is None or retention.late_metric:
        return None
    return _lacking(retention.ranked_by, result)


def _lacking(metric: Metric | None, result: Any) -> UnknownMetricError | None:
    if metric is None or metric.find(result) is not None:
        return None
    return UnknownMetricError(metric.name, nearest_first(metric.name, names(result)))
