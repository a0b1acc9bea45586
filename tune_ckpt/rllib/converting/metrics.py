"""Metrics of the new API stack, as the logger of Ray 2.60 takes them: what outlives an iteration.

Ray 2.60 reads the older form of a metric, but not of each: it fails on lists, and on an average
that it now takes in another way. Averages and last values are there again after the next iteration;
so totals and windows of episodes alone are carried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_ckpt.rllib.reading.plain import fields

_OF_WINDOWS = ("mean", "min", "max")


def with_metrics(state: dict[Any, Any]) -> dict[str, Any]:
    """Return the part of a component's state that its metrics are, if it has any."""
    found = state.get("metrics_logger")
    return {} if found is None else {"metrics_logger": carried(found)}


def carried(logger: Any) -> dict[str, Any]:
    """Return a logger's state, of any Ray."""
    stats = fields((fields(logger) or {}).get("stats")) or {}
    return {"stats": dict(_carried(stats))}


def _carried(stats: dict[Any, Any]) -> Iterator[tuple[str, dict[Any, Any]]]:
    for key, stored in stats.items():
        stat = fields(stored) or {}
        if "stats_cls_identifier" in stat or _outlives_an_iteration(stat):
            # Paths were tuples up to Ray 2.40.
            yield "--".join(map(str, key)) if isinstance(key, tuple) else str(key), stat


def _outlives_an_iteration(stat: dict[Any, Any]) -> bool:
    window = stat.get("window")
    if stat.get("reduce") == "sum":
        return stat.get("clear_on_reduce") is False
    return stat.get("reduce") in _OF_WINDOWS and isinstance(window, int) and window > 1


def counted(counters: dict[Any, Any]) -> dict[str, Any]:
    """Return metrics that go on counting where the old API stack's counters stood."""
    sampled = counters.get("num_env_steps_sampled", 0)
    total = {"values": [sampled], "reduce": "sum", "window": None, "ema_coeff": None}
    lifetime = {**total, "clear_on_reduce": False}
    return {"stats": {"env_runners--num_env_steps_sampled_lifetime": lifetime}}
