"""Why checkpoints of a sweep were passed over: what a ranking says of what it did not take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import NoCheckpointError, TuneCkptError, UnknownMetricError
from tune_ckpt.sweep.candidate import Candidate
from tune_ckpt.sweep.candidates import OpenSweep
from tune_ckpt.sweep.metrics import Metric, names, nearest_first, number
from tune_ckpt.sweep.result_log import RESULTS
from tune_ckpt.sweep.trial_folder import TrialFolder


@dataclass
class Reasons:
    """Why checkpoints were passed over.

    Attributes:
        sweep: The sweep.
        metrics: What they are ranked by.
        unusable: Of those that were better, but are gone or damaged: one line each.
        unranked: Of those that have no value: one line each.
        refused: How many the caller did not want.
        opened: The trials that were looked into, with their checkpoints.
    """

    sweep: OpenSweep
    metrics: Sequence[Metric]
    unusable: list[str] = field(default_factory=list)
    unranked: list[str] = field(default_factory=list)
    refused: int = 0
    opened: list[tuple[TrialFolder, list[Candidate]]] = field(default_factory=list)
    _said: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Return why what was looked at so far was passed over, one line each."""
        parts = [self.unusable, self.unranked, self.sweep.notes.lines]
        if len(self._said) != sum(map(len, parts)):  # else all places share one tuple
            self._said = tuple(line for part in parts for line in part)
        return self._said

    def better_results(self, value: float) -> Iterator[str]:
        """Yield results that beat a value and have no checkpoint of their own, one line each."""
        metric = self.metrics[0]
        for folder, candidates in self.opened:
            known = {candidate.iteration for candidate in candidates}
            for result in folder.log.results():
                better = metric.value(result, folder.name)
                iteration = number(result.get("training_iteration"))
                if better is None or iteration in known or not metric.better(better, value):
                    continue
                when = "?" if iteration is None else int(iteration)
                where = f"trial {folder.trial_id}, iteration {when}"
                why = "no checkpoint of it is left: it was deleted, or never saved"
                yield f"{where} has {metric.name} {better!r}, but {why}"

    def failure(self, folders: Sequence[TrialFolder]) -> TuneCkptError:
        """Return the error that tells why nothing was usable.

        Args:
            folders: The trials that there are.
        """
        for metric in self.metrics if not self.unusable and not self.refused else ():
            results = list(self._all_metrics())
            if results and all(metric.find(result) is None for result in results):
                available = {name for result in results for name in names(result)}
                return UnknownMetricError(metric.name, nearest_first(metric.name, available))
        return NoCheckpointError(self.sweep.base, self.lines() or self._nothing(folders))

    def _all_metrics(self) -> Iterator[Any]:
        for folder, candidates in self.opened:
            yield from (candidate.metrics for candidate in candidates)
            if RESULTS in folder.names:
                yield from folder.log.results()

    def _nothing(self, folders: Sequence[TrialFolder]) -> tuple[str, ...]:
        if self.refused:
            return (f"where= refused all {self.refused} checkpoint(s)",)
        trials = [f"trial {folder.trial_id} has no checkpoint" for folder in folders]
        names = self.sweep.store.names()
        if not trials and not names:
            return ("nothing is there",)
        inside = ", ".join(sorted(name for name, is_dir in names.items() if is_dir)[:5]) or "none"
        return tuple(trials) or (
            f"it holds no trial's folder; is it the sweep's own? The folders in it: {inside}",
        )
