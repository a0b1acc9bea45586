"""Why checkpoints of a sweep were passed over: what a ranking says of what it did not take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import NoCheckpointError, TuneCkptError, UnknownMetricError, listed
from tune_ckpt.sweep.candidate import Candidate
from tune_ckpt.sweep.candidates import OpenSweep
from tune_ckpt.sweep.metrics import Metric, names, nearest_first, whole
from tune_ckpt.sweep.trial_folder import TrialFolder


@dataclass
class Reasons:
    """Why checkpoints were passed over.

    Attributes:
        sweep: The sweep.
        metrics: What they are ranked by.
        unusable: Of those that were better, but are gone or damaged: one line each.
        damaged: Those of them that are there, by trial folder and name, each with its line.
        unranked: Of those that have no value: one line each.
        refused: How many the caller did not want.
        opened: The trials that were looked into, with their checkpoints.
    """

    sweep: OpenSweep
    metrics: Sequence[Metric]
    unusable: list[str] = field(default_factory=list)
    damaged: dict[tuple[str, str], str] = field(default_factory=dict)
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
            for result in folder.results():
                better = metric.value(result, folder.name)
                iteration = whole(result.get("training_iteration"))
                if better is None or iteration in known or not metric.better(better, value):
                    continue
                where = f"trial {folder.trial_id}, iteration {iteration}"
                why = "no checkpoint of it is left: it was deleted, or never saved"
                yield f"{where} has {metric.name} {better!r}, but {why}"

    def failure(
        self, folders: Sequence[TrialFolder], why_refused: Sequence[str] = ()
    ) -> TuneCkptError:
        """Return the error that tells why nothing was usable.

        Args:
            folders: The trials that there are.
            why_refused: Why the caller wanted none, where that is known: one line each.
        """
        for metric in self.metrics if not self.unusable and not self.refused else ():
            results = list(self._all_metrics())
            found = [metric.find(result) for result in results]
            if found and all(value is None or isinstance(value, Mapping) for value in found):
                available = {name for result in results for name in names(result)}
                inside = f"{metric.name}/"  # it may be a dict of metrics
                nearest = nearest_first(metric.name, available)
                by_place = sorted(nearest, key=lambda name: not name.startswith(inside))
                return UnknownMetricError(metric.name, tuple(by_place))
        refused = (f"where= refused all {self.refused} checkpoint(s)", *why_refused)
        lines = (*(refused if self.refused else ()), *self.lines())
        return NoCheckpointError(self.sweep.place, lines or self._nothing(folders))

    def _all_metrics(self) -> Iterator[Any]:
        for folder, candidates in self.opened:
            yield from (candidate.metrics for candidate in candidates)
            yield from folder.results()

    def _nothing(self, folders: Sequence[TrialFolder]) -> tuple[str, ...]:
        trials = [f"trial {folder.trial_id} has no checkpoint" for folder in folders]
        names = self.sweep.store.names()
        if not trials and not names:
            return ("nothing is there",)
        inside = listed(sorted(name for name, is_dir in names.items() if is_dir), 5)
        return tuple(trials) or (
            f"it holds no trial's folder; is it the sweep's own? The folders in it: {inside}",
        )
