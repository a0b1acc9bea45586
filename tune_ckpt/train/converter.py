"""Does what is to be done with a Train run's checkpoints, off the controller; runs as a Ray actor.

The actor asks for no CPU, and belongs to nobody: when a run ends, its controller is gone at once,
and what is left to do is still done. It ends by itself when it has had nothing to do for a while.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import ray

from tune_ckpt.train.jobs import Wanted, complete
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.outcomes import REPORT, Outcome, failed, report_json

_IDLE_SECS = 600.0
_NICENESS = 10  # workers come first
logger = logging.getLogger(__name__)

Run = tuple[str, Any]  # its folder and filesystem
Job = tuple[Callable[..., list[Outcome]], tuple[Any, ...], dict[str, Any]]


class Converter:
    """Does one job after the other in a thread of its own, and notes what came of each.

    Args:
        wanted: What is to be done when the run has ended.
    """

    def __init__(self, wanted: Wanted) -> None:
        os.nice(_NICENESS)
        self._wanted = wanted
        self._run: Run | None = None
        self._outcomes: list[Outcome] = []
        self._jobs: queue.Queue[Job] = queue.Queue()
        self._left = 0
        self._news = threading.Condition()
        me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._work, args=[me], daemon=True).start()

    def take(self, run: Run, jobs: list[Job]) -> None:
        """Queue jobs."""
        self._run = run
        with self._news:
            self._left += len(jobs)
        for job in jobs:
            self._jobs.put(job)

    def finish(self, run: Run | None = None) -> None:
        """Queue what is to be done at the end.

        Args:
            run: The run, for an actor that was told of none.
        """
        run = run or self._run
        if run is not None:
            self.take(run, [(complete, (*run, self._wanted), {})])

    def left(self, known: int, secs: float) -> int:
        """Return how many jobs are not done; wait for another number than is known, or so long.

        Ray calls one method at a time, in the order in which a caller asked.
        """
        with self._news:
            self._news.wait_for(lambda: self._left != known, secs)
            return self._left

    def outcomes(self) -> tuple[list[Outcome], Run | None]:
        """Return what came of the jobs that are done, and the run."""
        return self._outcomes, self._run

    def _work(self, me: Any) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECS)
            except queue.Empty:
                self._do((self._complete, (), {}))
                ray.kill(me)
                return
            self._do(job)
            with self._news:
                self._left -= 1
                self._news.notify_all()

    def _complete(self) -> list[Outcome]:
        """Do what the driver did not ask for."""
        return complete(*self._run, self._wanted) if self._run else []

    def _do(self, job: Job) -> None:
        function, args, options = job
        try:
            found = function(*args, **options)
        except Exception as error:
            logger.exception("tune_ckpt: %s", function.__name__)
            found = [failed("", "hook", error)]
        self._outcomes += [outcome for outcome in found if outcome.status != "up to date"]
        self._report()

    def _report(self) -> None:
        if self._run is None:
            return
        try:
            folder = open_store(*self._run)
            if self._outcomes or not folder.exists(REPORT):  # one of an earlier actor stays
                folder.write_bytes(REPORT, report_json(self._outcomes))
        except Exception as error:
            logger.exception("tune_ckpt: %s", REPORT)
            self._outcomes.append(failed("", "hook", error))


def start_converter(name: str, wanted: Wanted) -> Any:
    """Return the actor of that name; it is started where there is none."""
    options = {
        "name": name,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "max_task_retries": -1,  # what a caller asks while it is started again
    }
    actor: Any = ray.remote(num_cpus=0)(Converter)
    return actor.options(**options).remote(wanted)
