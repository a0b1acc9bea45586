"""What a ResultGrid knows and does not show; Ray is not imported for it.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

from typing import Any


def goal_of(results: Any) -> tuple[str, str] | None:
    """Return the metric and mode of the ``TuneConfig``, where it has both."""
    analysis = getattr(results, "_experiment_analysis", None)
    metric, mode = (getattr(analysis, f"default_{word}", None) for word in ("metric", "mode"))
    return (metric, mode) if metric and mode else None
