"""A sweep's checkpoints from the best down, each looked at only when it is asked for.

Values that are no numbers, and NaN, never win; ties go to the earliest iteration, then to the
lowest trial id. Trials that failed count. A checkpoint that is gone or damaged is passed over, and
it is said why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tune_ckpt.errors import NoCheckpointError, TuneCkptError, UnknownMetricError
from tune_ckpt.metrics import Metric, names, nearest_first, number
from tune_ckpt.sweep import Candidate, Sweep
from tune_ckpt.tree.store import open_store
from tune_ckpt.tree.verify import verify as verify_checkpoint


@dataclass(frozen=True)
class Place:
    """A checkpoint in the ranking.

    Attributes:
        candidate: The checkpoint.
        value: Its value of the metric.
        path: Where it is.
        passed_over: What could not be ranked, or was better but is not usable: one line each.
    """

    candidate: Candidate
    value: float
    path: str
    passed_over: tuple[str, ...]


class Ranking:
    """The candidates of a sweep by a metric; every call of `next` goes on from the last.

    Args:
        sweep: The sweep.
        metric: What to rank by.

    Raises:
        AmbiguousMetricError: The metric's name fits two places in a result.
    """

    def __init__(self, sweep: Sweep, metric: Metric) -> None:
        self.metric = metric
        self._sweep = sweep
        self._candidates = list(sweep.candidates())
        self._passed_over: list[str] = []
        self._unranked: list[str] = []
        self._said: tuple[str, ...] = ()
        ranked = sorted(self._scored(), key=lambda scored: scored[0])
        self._left = iter([(value, candidate) for _, value, candidate in ranked])

    def _scored(self) -> Iterator[tuple[tuple[float, float, str], float, Candidate]]:
        for candidate in self._candidates:
            found = self.metric.find(candidate.metrics, str(candidate))
            value = number(found)
            if value is None:
                self._unranked.append(f"{candidate}: {self.metric.name} is {found!r}")
                continue
            iteration = math.inf if candidate.iteration is None else candidate.iteration
            yield (self.metric.cost(value), iteration, candidate.trial_id), value, candidate

    def next(self, *, verify: bool) -> Place | None:
        """Return the next checkpoint that is usable, or None.

        Args:
            verify: Check every byte of it; else only that it is there.
        """
        for value, candidate in self._left:
            path, problem = self._usable(candidate, verify)
            if path is not None:
                return Place(candidate, value, path, self._reasons())
            line = f"{candidate}: {self.metric.name} is {value!r}, but the checkpoint is {problem}"
            self._passed_over.append(line)
        return None

    def _usable(self, candidate: Candidate, verify: bool) -> tuple[str | None, str]:
        problem = "gone"
        for path in self._sweep.homes(candidate):
            if not open_store(path, self._sweep.filesystem).list():
                continue
            report = verify_checkpoint(path, filesystem=self._sweep.filesystem) if verify else None
            if report is None or report.ok:
                return path, ""
            problem = f"damaged: {'; '.join(map(str, report.faults))}"
        return None, problem

    def _reasons(self) -> tuple[str, ...]:
        lines = [self._passed_over, self._unranked, self._sweep.notes.lines]
        if len(self._said) != sum(map(len, lines)):  # else all places share one tuple
            self._said = tuple(line for part in lines for line in part)
        return self._said

    def failure(self) -> TuneCkptError:
        """Return the error that tells why nothing was usable."""
        if not self._passed_over:
            results = [*(c.metrics for c in self._candidates), *self._sweep.reported()]
            if results and all(self.metric.find(result) is None for result in results):
                available = {name for result in results for name in names(result)}
                return UnknownMetricError(
                    self.metric.name, nearest_first(self.metric.name, available)
                )
        return NoCheckpointError(self._sweep.base, self._reasons() or self._nothing())

    def _nothing(self) -> tuple[str, ...]:
        trials = [f"trial {folder.trial_id} has no checkpoint" for folder in self._sweep.folders]
        return tuple(trials) or ("it holds no trial's folder; is it the sweep's own?",)
