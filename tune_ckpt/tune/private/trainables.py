"""What a Trainable knows of its own course.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_ckpt.tune.private.places import next_in

_COUNTERS = ("iteration", "time_total", "timesteps_total", "episodes_total")


def counters(trainable: Any) -> dict[str, Any]:
    """Return how far a Trainable is: its iterations, seconds, timesteps and episodes."""
    return {name: getattr(trainable, f"_{name}", None) for name in _COUNTERS}


def set_counters(trainable: Any, counters: Mapping[str, Any]) -> None:
    """Let a Trainable count on from there; what is no counter is passed over."""
    for name in counters.keys() & set(_COUNTERS):
        setattr(trainable, f"_{name}", counters[name])


def last_metrics(trainable: Any) -> dict[str, Any]:
    """Return what a Trainable reported last."""
    return getattr(trainable, "_last_result", None) or {}


def next_checkpoint_of(trainable: Any) -> tuple[str, Any] | None:
    """Return where Tune will keep a Trainable's next checkpoint, and the filesystem.

    None outside of a trial.
    """
    storage = getattr(trainable, "_storage", None)
    return next_in(storage) if storage else None
