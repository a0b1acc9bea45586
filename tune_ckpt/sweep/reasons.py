"""Why checkpoints of a sweep were passed over: what a ranking says of what it did not take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
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
        unranked: Those that have no value, by trial folder and what is wrong.
        refused: How many the caller did not want.
        opened: The trials that were looked into, with their checkpoints.
    """

    sweep: OpenSweep
    metrics: Sequence[Metric]
    unusable: list[str] = field(default_factory=list)
    damaged: dict[tuple[str, str], str] = field(default_factory=dict)
    unranked: dict[tuple[str, str], list[Candidate]] = field(default_factory=dict)
    refused: int = 0
    opened: list[tuple[TrialFolder, list[Candidate]]] = field(default_factory=list)
    _said: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Return why what was looked at so far was passed over: one line each, or a trial's."""
        parts = (self.unusable, self.unranked, self.sweep.notes.lines)
        if len(self._said) != sum(map(len, parts)):  # else all places share one tuple
            without_value = starmap(_told_of_all, self.unranked.items())
            self._said = (*self.unusable, *without_value, *self.sweep.notes.lines)
        return self._said

    def has_no_value(self, candidate: Candidate, why: str) -> None:
        """Keep that a checkpoint cannot be ranked."""
        self.unranked.setdefault((candidate.folder.name, why), []).append(candidate)

    def better_results(self, value: float) -> Iterator[str]:
        """Yield a line of each trial with results that beat a value and have no checkpoint."""
        metric = self.metrics[0]
        for folder, candidates in self.opened:
            known = {candidate.iteration for candidate in candidates}
            better = [
                (metric.cost(found), found, iteration)
                for found, iteration in self._results(folder)
                if iteration not in known and metric.better(found, value)
            ]
            if not better:
                continue
            _, best, iteration = min(better, key=lambda one: one[0])
            more = f"; nor of {len(better) - 1} more that were better" if len(better) > 1 else ""
            yield (
                f"trial {folder.trial_id}, iteration {iteration} has {metric.name} {best!r}, but "
                f"no checkpoint of it is left: it was deleted, or never saved{more}"
            )

    def _results(self, folder: TrialFolder) -> Iterator[tuple[float, int | None]]:
        for result in folder.results():
            value = self.metrics[0].value(result, folder.name)
            if value is not None:
                yield value, whole(result.get("training_iteration"))

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


def _told_of_all(place: tuple[str, str], candidates: Sequence[Candidate]) -> str:
    _, why = place
    if len(candidates) == 1:
        return f"{candidates[0]}: {why}"
    iterations = sorted(one.iteration for one in candidates if one.iteration is not None)
    at = f", at iterations {listed(iterations, 8)}" if iterations else ""
    return f"trial {candidates[0].trial_id}, {len(candidates)} checkpoints{at}: {why}"
