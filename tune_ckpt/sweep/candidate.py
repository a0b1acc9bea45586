"""A checkpoint of a sweep, with the metrics of its moment."""

from __future__ import annotations

from dataclasses import dataclass

from tune_ckpt.sweep.metrics import whole
from tune_ckpt.sweep.result_log import Metrics
from tune_ckpt.sweep.trial_folder import TrialFolder


@dataclass(frozen=True)
class Candidate:
    """A checkpoint whose metrics are known.

    Attributes:
        folder: Its trial's folder.
        name: Its own folder's name; where it lies elsewhere the path that was recorded, or that of
            its pinned copy below the sweep's folder.
        metrics: Those of the result to which it belongs.
    """

    folder: TrialFolder
    name: str
    metrics: Metrics

    @property
    def trial_id(self) -> str:
        """The id of the trial that reported the metrics."""
        recorded = self.metrics.get("trial_id")
        # RLlib's results say "default".
        usable = isinstance(recorded, str) and recorded != "default"
        return str(recorded) if usable else self.folder.trial_id

    @property
    def iteration(self) -> int | None:
        """After which iteration, where that is recorded."""
        return whole(self.metrics.get("training_iteration"))

    def __str__(self) -> str:
        return f"trial {self.trial_id}, iteration {self.iteration} ({self.name})"
