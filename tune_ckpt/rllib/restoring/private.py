"""What of RLlib's objects has no public way, in one place; a test fails when Ray changes any of it.

Checked with Ray 2.60.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def set_counters(algorithm: Any, iteration: int, counters: Mapping[str, int | float]) -> None:
    """Have an Algorithm of the old API stack count on from where a checkpoint's stood.

    Args:
        algorithm: The Algorithm.
        iteration: How many iterations there have been.
        counters: The old API stack's own, by their names.
    """
    algorithm._iteration = iteration
    algorithm._counters.update(counters)


def count_optimizers(policy: Any) -> int:
    """Return how many optimizers a policy of the old API stack has."""
    return len(policy._optimizers)


def has_module_spec(config: Any) -> bool:
    """Say whether somebody told a configuration of the new API stack how its modules are made."""
    return config._rl_module_spec is not None
