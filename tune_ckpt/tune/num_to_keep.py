"""Tune's own ``num_to_keep``, which deletes the best where its score is nested or missing."""

from __future__ import annotations

import logging
from typing import Any

from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.private import checkpoint_config_of

logger = logging.getLogger(__name__)


class LossWarning:
    """Warns once of a setting that would delete the best checkpoint.

    Args:
        metric: What is best, where anything is.
    """

    def __init__(self, metric: Metric | None) -> None:
        self._metric = metric  # None once it has been told

    def look(self, trial: Any, result: Any = None) -> None:
        """Warn if a trial's setting is such; ``result`` is one that has a checkpoint."""
        if self._metric is None:
            return
        reason = reason_for_loss(checkpoint_config_of(trial), self._metric, result)
        if reason is not None:
            logger.warning(
                "tune_ckpt: num_to_keep of Tune's CheckpointConfig would delete the checkpoint "
                "with the best %s: %s. Leave it unset, and give retention= to the callback.",
                *(self._metric.name, reason),
            )
            self._metric = None


def reason_for_loss(config: Any, metric: Metric, result: Any = None) -> str | None:
    """Return why Tune's own setting would delete the best checkpoint, or None.

    Args:
        config: A trial's ``CheckpointConfig``.
        metric: What is best.
        result: A result of the trial's that has a checkpoint, once there is one.
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
    if result is None or metric.find(result) is not None:
        return None
    return f"results without {score!r}, as there are, count as the best"
