"""A sweep's checkpoints from the best down, each looked at only when it is asked for.

Trials and checkpoints wait in one queue. A trial stands in it by a bound of its values, and gives
way to its checkpoints when it comes to the front: most trials never do, and are never parsed.

Values that are no numbers, and NaN, never win; ties go to the earliest iteration, then to the
lowest trial id. Trials that failed count. A checkpoint that is gone or damaged is passed over, and
it is said why. With several metrics the ranking is their Pareto front: what no other checkpoint
equals in all of them and beats in one.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from tune_ckpt.errors import StorageError
from tune_ckpt.sweep.candidate import Candidate
from tune_ckpt.sweep.candidates import OpenSweep
from tune_ckpt.sweep.conditions import Where, fits
from tune_ckpt.sweep.metrics import Metric, number
from tune_ckpt.sweep.reasons import Reasons
from tune_ckpt.sweep.records import CheckpointRecord
from tune_ckpt.sweep.scopes import Scope
from tune_ckpt.sweep.trial_folder import TrialFolder
from tune_ckpt.tree.inspection.verify import verify as verify_checkpoint
from tune_ckpt.tree.storage.store import open_store

Key = tuple[tuple[float, ...], tuple[Any, ...]]  # costs, and what settles ties


@dataclass(frozen=True)
class Place:
    """A checkpoint's place in the ranking.

    Attributes:
        candidate: The checkpoint.
        values: Its values of the metrics.
        score: What it is ranked by: its value of the first metric, or its trial's in the scope.
    """

    candidate: Candidate
    values: tuple[float, ...]
    score: float


class Ranking:
    """The candidates of a sweep; every call of `next` goes on from the last.

    Args:
        sweep: The sweep.
        metrics: What to rank by.
        scope: Which of a trial's values count; None where each checkpoint stands for itself.
        per_trial: How many checkpoints of one trial at most; None for all.
        where: Which checkpoints count; None for all.

    Attributes:
        folders: The trials that there are.
        why: Why checkpoints were passed over so far.

    Raises:
        AmbiguousMetricError: A metric's name fits two places in a result.
    """

    def __init__(
        self,
        sweep: OpenSweep,
        metrics: Sequence[Metric],
        scope: Scope | None = None,
        per_trial: int | None = None,
        where: Where | None = None,
    ) -> None:
        self.sweep = sweep
        self.metrics = tuple(metrics)
        self.scope = scope
        self._per_trial = per_trial
        self._where = where
        self.why = Reasons(sweep, self.metrics)
        self._taken: Counter[str] = Counter()
        self._front: list[tuple[float, ...]] = []
        self._serial = count()
        self.folders = sweep.look()
        self._queue: list[tuple[Key, int, int, TrialFolder | Place]] = [
            (bound, 0, index, folder)
            for index, (bound, folder) in enumerate(zip(self._bounds(), self.folders, strict=True))
        ]
        heapq.heapify(self._queue)

    def _bounds(self) -> Iterator[Key]:
        bounds = [self.sweep.bounds(self.folders, metric) for metric in self.metrics]
        for by_metric in zip(*bounds, strict=True):
            tie = by_metric[0][1:] if len(bounds) == 1 and not self.scope else ()
            yield tuple(bound[0] for bound in by_metric), tie

    # --------------------------------------------------------------------------------- the queue

    def next(self, *, verify: bool) -> CheckpointRecord | None:
        """Return the next checkpoint that is usable, or None.

        Args:
            verify: Check every byte of it; else only that it is there.
        """
        while self._queue:
            (costs, _), _, _, item = heapq.heappop(self._queue)
            if self._is_dominated(costs):
                continue
            if isinstance(item, TrialFolder):
                self._open(item)
                continue
            record = self._usable(item, verify)
            if record is not None:
                self._taken[item.candidate.folder.name] += 1
                if len(self.metrics) > 1:
                    self._front.append(costs)
                return record
        return None

    def _is_dominated(self, costs: tuple[float, ...]) -> bool:
        return any(
            other != costs and all(a <= b for a, b in zip(other, costs, strict=True))
            for other in self._front
        )

    def _open(self, folder: TrialFolder) -> None:
        candidates = list(self.sweep.candidates(folder))
        self.why.opened.append((folder, candidates))
        for key, place in self._ranked(folder, candidates):
            heapq.heappush(self._queue, (key, 1, next(self._serial), place))

    def _ranked(
        self, folder: TrialFolder, candidates: list[Candidate]
    ) -> Iterator[tuple[Key, Place]]:
        places = [place for place in map(self._place, candidates) if place is not None]
        if not self.scope:
            for place in places:
                costs = self._costs(place.values)
                yield (costs, (_iteration(place), place.candidate.trial_id)), place
            return
        score = self._score_of(folder, places)
        if score is not None:
            for place in places:
                metric, trial = self.metrics[0], place.candidate.trial_id
                newest, own = -_iteration(place), metric.cost(place.values[0])
                tie = (trial, newest, own) if self.scope.newest_first else (trial, own, -newest)
                yield ((metric.cost(score),), tie), replace(place, score=score)

    def _score_of(self, folder: TrialFolder, places: list[Place]) -> float | None:
        assert self.scope is not None
        known = sorted(places, key=_iteration)
        # Of a killed or running trial checkpoints may be newer than its log; or there is none.
        newer = [place.values[0] for place in known if _iteration(place) > folder.reached]
        values = [*folder.values(self.metrics[0]), *newer]
        return number(self.scope.score(self.metrics[0], values)) if values else None

    def _place(self, candidate: Candidate) -> Place | None:
        found = [metric.find(candidate.metrics, str(candidate)) for metric in self.metrics]
        values = [number(value) for value in found]
        for metric, value in zip(self.metrics, found, strict=True):
            if number(value) is None:
                wrong = "" if value is None or isinstance(value, float) else ", which is no number"
                self.why.has_no_value(candidate, f"{metric.name} is {value!r}{wrong}")
        numbers = tuple(value for value in values if value is not None)
        return Place(candidate, numbers, numbers[0]) if len(numbers) == len(values) else None

    def _costs(self, values: Sequence[float]) -> tuple[float, ...]:
        return tuple(m.cost(value) for m, value in zip(self.metrics, values, strict=True))

    def told(self) -> str:
        """Return what is better than what, in a line."""
        over = f"over {len(self.folders)} trial{'s' * (len(self.folders) > 1)}"
        if len(self.metrics) > 1:
            named = ", ".join(f"{metric.name} ({metric.mode})" for metric in self.metrics)
            return f"on the front of {named} {over}: none equals it in all and beats it in one"
        end = {"max": "largest", "min": "smallest"}[self.metrics[0].mode]
        return f"the {end} {self.metrics[0].name} is the best, {over}"

    # ------------------------------------------------------------------------------ one checkpoint

    def _usable(self, place: Place, verify: bool) -> CheckpointRecord | None:
        """Return the record of a checkpoint, or None, and why not is kept."""
        candidate = place.candidate
        if self._per_trial and self._taken[candidate.folder.name] >= self._per_trial:
            return None
        homes = self.sweep.homes(candidate)
        record = self._record(place, homes[0] if homes else "")
        if self._where is not None and not fits(record, self._where):
            self.why.refused += 1
            return None
        problem = ""
        for path in homes:
            found, verified = self._checked(path, verify)
            if found is None:
                lines = self.why.lines()
                return replace(record, path=path, verified=verified, passed_over=lines)
            problem = found or problem
        told = f"{candidate} has {self._told(place)}, but its checkpoint {problem or 'was deleted'}"
        self.why.unusable.append(told)
        if problem:
            self.why.damaged[candidate.folder.name, candidate.name] = told
        return None

    def _record(self, place: Place, path: str) -> CheckpointRecord:
        candidate, metric = place.candidate, self.metrics[0]
        names = [metric.name for metric in self.metrics]
        return CheckpointRecord(
            path=path,
            trial_id=candidate.trial_id,
            iteration=candidate.iteration,
            config=self.sweep.config(candidate),
            metrics=dict(candidate.metrics),
            metric=metric.name,
            mode=metric.mode,
            value=place.values[0],
            values=dict(zip(names, place.values, strict=True)),
            scope=self.scope.name if self.scope else None,
            score=place.score,
            converted=self.sweep.converted(candidate),
            filesystem=self.sweep.filesystem,
            ranking=self,
        )

    def _checked(self, path: str, verify: bool) -> tuple[str | None, bool]:
        """Say what is wrong (nothing more than that it is gone: ``""``), and if digests agreed."""
        filesystem = self.sweep.filesystem
        try:
            if not open_store(path, filesystem).names():
                return "", False
            report = verify_checkpoint(path, filesystem=filesystem) if verify else None
        except StorageError as error:
            return f"cannot be read: {error.reason}", False
        if report is None or report.ok:
            return None, report is not None and not report.unverified
        return f"is damaged: {'; '.join(map(str, report.faults))}", False

    def _told(self, place: Place) -> str:
        named = zip(self.metrics, place.values, strict=True)
        return ", ".join(f"{metric.name} {value!r}" for metric, value in named)


def _iteration(place: Place) -> float:
    iteration = place.candidate.iteration
    return math.inf if iteration is None else iteration
