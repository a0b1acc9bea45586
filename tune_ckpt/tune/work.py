"""The work beside a sweep: jobs under way, and what came of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tune_ckpt.tree.progress import steps_bar
from tune_ckpt.tune.job_queue import JobQueue
from tune_ckpt.tune.outcomes import Outcome, failed, given_up
from tune_ckpt.tune.pruning_jobs import Found, Measured
from tune_ckpt.tune.pruning_live import LivePruner
from tune_ckpt.tune.source import Owner, Source

logger = logging.getLogger(__name__)

Job = Callable[..., list[Any]]


class Work:
    """Has jobs done, and notes what came of them; nothing but `drain` ever waits.

    Args:
        limit: How many jobs may run at once.
        outcomes: Where the outcomes are noted.
        pruner: Says which checkpoints may go; None where all are kept.
    """

    def __init__(self, limit: int, outcomes: list[Outcome], pruner: LivePruner | None) -> None:
        self._queue = JobQueue(limit, _lost)
        self._outcomes = outcomes
        self._pruner = pruner

    def add(self, key: str, job: Job, *args: Any) -> None:
        """Append a job; those of one key are done in order."""
        self._queue.add(key, job, *args)

    def add_kept(self, key: str, job: Job, source: Source, owner: Owner, *args: Any) -> None:
        """Append a job on a checkpoint that may be deleted before its turn comes."""
        self._queue.add_prepared(key, job, lambda: (source.kept_for(job.__name__, owner), *args))

    def prune(self, trials: Iterable[Any], *, at_end: bool = False) -> None:
        """Append what retention needs, such as the deletion of what may go."""
        if self._pruner is not None and (self._pruner.has_news or at_end):
            for job in self._pruner.take_jobs(trials):
                self.add(*job)

    def look(self) -> None:
        """Note what came of the jobs that ended since the last look."""
        for outcomes in self._queue.results():
            self.note(outcomes)

    def drain(self, what: str, deadline: float) -> None:
        """Wait for all jobs, with a progress bar, until ``time.monotonic()`` is there.

        Args:
            what: What they do, for the progress bar.
            deadline: When to wait no longer.
        """
        count = len(self._queue)
        with steps_bar(what, count, shown=count > 0) as advance:
            for outcomes in self._queue.drain(deadline):
                self.note(outcomes)
                advance(1)

    def close(self) -> None:
        """Give up what is not done by now, and note that."""
        for key, count in Counter(self._queue.close()).items():
            self.note([given_up(f"jobs of {key}: {count} not done")])

    def note(self, results: Iterable[Outcome | Measured | Found]) -> None:
        """Note what came of a job."""
        for result in results:
            if self._pruner is not None:
                self._pruner.note(result)
            if isinstance(result, Outcome):
                self._tell(result)

    def _tell(self, outcome: Outcome) -> None:
        if outcome.status == "failed":
            logger.warning("tune_ckpt: %s", outcome)
        if outcome.status != "up to date":
            self._outcomes.append(outcome)


def _lost(key: str, error: Exception) -> list[Outcome]:
    return [failed(f"(of {key})", "hook", error)]  # a trial, or what jobs of all trials are for
