"""The counters of any checkpoint of RLlib's: iterations, steps, episodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tune_ckpt.rllib.reading.finding import Part, find
from tune_ckpt.rllib.reading.generations import ALGORITHM
from tune_ckpt.rllib.reading.plain import fields

Counters = dict[str, int | float]

ITERATION = "training_iteration"
_TUNE_COUNTERS = {
    "iteration": ITERATION,
    "timesteps_total": "timesteps_total",
    "episodes_total": "episodes_total",
    "time_total": "time_total_s",
}


def load_counters(checkpoint: Any, *, filesystem: Any = None) -> Counters:
    """Return the counters in a checkpoint, by their names.

    Args:
        checkpoint: A folder or file of any version, of an Algorithm or any part of one: a local
            path, a URI, or a Ray Checkpoint.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the path is to be looked up.

    Returns:
        ``training_iteration``, where it is told; the old API stack's counters by their names, the
        new one's lifetime metrics by their paths
        (``env_runners/num_env_steps_sampled_lifetime``); a policy's or component's own numbers.

    Raises:
        NotACheckpointError: RLlib wrote nothing like it.
        CorruptDataError, CorruptCheckpointError: It is damaged.
    """
    return counters_of(find(checkpoint, filesystem))


def counters_of(part: Part) -> Counters:
    """Return the counters of one part of a checkpoint; nothing where it has none."""
    state = fields(part.state) or {}
    found = dict(_tune_counters(part)) if part.type == ALGORITHM else {}
    for items in (state, fields(state.get("counters")) or {}):
        found |= {str(k): number for k, v in items.items() if (number := _number(v)) is not None}
    return found | dict(_lifetime_metrics(state.get("metrics_logger")))


def _number(value: Any) -> int | float | None:
    if isinstance(value, np.number) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _tune_counters(part: Part) -> Iterator[tuple[str, int | float]]:
    for key, counter in _TUNE_COUNTERS.items():
        if (number := _number(part.tune_metadata.get(key))) is not None:
            yield counter, number


def _lifetime_metrics(logger: Any) -> Iterator[tuple[str, int | float]]:
    stats = fields((fields(logger) or {}).get("stats")) or {}
    for key, stat in stats.items():
        # A path as a tuple in Ray 2.30 to 2.40, as text since.
        path = "/".join(map(str, key)) if isinstance(key, tuple) else str(key).replace("--", "/")
        total = _total(fields(stat) or {})
        if "_lifetime" in path and total is not None:
            yield path, int(total) if float(total).is_integer() else total


def _total(stat: dict[Any, Any]) -> int | float | None:
    if "lifetime_sum" in stat:
        return _number(stat["lifetime_sum"])
    values = stat.get("values")
    numbers = [_number(value) for value in values] if isinstance(values, list | tuple) else []
    return sum(number for number in numbers if number is not None) if numbers else None
