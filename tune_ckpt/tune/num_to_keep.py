"""Tune's own ``num_to_keep``, which deletes the best where its score is nested or missing."""

from __future__ import annotations

import logging
from typing import Any

from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.private import checkpoint_config_of

logger = logging.getLogger(__name__)


def warns_of_loss(trial: Any, metric: Metric) -> bool:
    """Warn where a trial's setting would delete its best checkpoint, and say whether it would."""
    reason = reason_for_loss(checkpoint_config_of(trial), metric)
    if reason is not None:
        logger.warning(
            "tune_ckpt: num_to_keep of Tune's CheckpointConfig would delete the checkpoint with "
            "the best %s: %s. Leave it unset, and give retention= to the callback.",
            *(metric.name, reason),
        )
    return reason is not None


def reason_for_loss(config: Any, metric: Metric) -> str | None:
    """Return why Tune's own setting would delete the best checkpoint, or None.

    Args:
        config: A trial's ``CheckpointConfig``.
        metric: What is best.
    """
    if config is None or config.num_to_keep is None:
        return None
    score = config.checkpoint_score_attribute
    if score is None:
        return "it keeps the newest, whatever their values"
    if "/" in score:
        return f"Tune does not find the nested score {score!r}, and keeps the newest"
    if (score, config.checkpoint_score_order) != (metric.name, metric.mode):
        return f"its score is {score!r} ({config.checkpoint_score_order})"
    return f"results without {score!r} count as the best"
