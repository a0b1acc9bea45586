"""Does what is to be done with a Train run's checkpoints, off the controller; runs as a Ray actor.

The actor asks for no CPU, and belongs to nobody: when a run ends, its controller is gone at once,
and what is left to do is still done. It ends by itself when it has heard nothing for a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import ray

from tune_ckpt.train.jobs import Wanted, complete
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.job_queue import JobQueue
from tune_ckpt.tune.outcomes import REPORT, Outcome, failed, report_json

_IDLE_SECS = 600.0
_LOOK_SECS = 1.0
logger = logging.getLogger(__name__)

Run = tuple[str, Any]  # its folder and filesystem
Job = tuple[Callable[..., list[Outcome]], tuple[Any, ...]]


class Converter:
    """Has one job done after the other, and notes what came of each.

    They are done in another process. One that ends it is tried again, and then noted as lost.

    Args:
        wanted: What is to be done when the run has ended.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._run: Run | None = None
        self._seen: set[str] = set()
        self._outcomes: list[Outcome] = []
        self._queue = JobQueue(1, _lost)
        self._left = 0
        self._heard_at = time.monotonic()
        self._news = threading.Condition()
        me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._follow, args=[me], daemon=True).start()

    def take(self, run: Run, name: str, jobs: list[Job]) -> None:
        """Queue what is to be done with a checkpoint of a run."""
        self._run = run
        self._seen.add(name)
        self.stay()
        self._add(f"{run[0]}/{name}", jobs)

    def stay(self) -> None:
        """Take note that the run goes on."""
        self._heard_at = time.monotonic()

    def finish(self, run: Run | None = None) -> int:
        """Queue what is to be done at the end, and return how many jobs are not done.

        Args:
            run: The run, for an actor that was told of none.
        """
        self._run = self._run or run
        if self._run is not None:
            args = *self._run, self._wanted, {*self._seen}
            self._add(self._run[0], [(complete, args)])
        return self._left

    def _add(self, key: str, jobs: list[Job]) -> None:
        with self._news:
            self._left += len(jobs)
        for job, args in jobs:
            self._queue.add(key, job, *args)

    def left(self, known: int, secs: float) -> int:
        """Return how many jobs are not done; wait for another number than is known, or so long."""
        with self._news:
            self._news.wait_for(lambda: self._left != known, secs)
            return self._left

    def outcomes(self) -> tuple[list[Outcome], Run | None]:
        """Return what came of the jobs that are done, and the run."""
        return self._outcomes, self._run

    def _follow(self, me: Any) -> None:
        while self._left or time.monotonic() - self._heard_at < _IDLE_SECS:
            self._look()
        self.finish()  # which the driver did not ask for
        while self._left:
            self._look()
        ray.kill(me)

    def _look(self) -> None:
        for outcomes in self._queue.results(_LOOK_SECS):
            self._note([o for o in outcomes if o.status != "up to date"])
            self.stay()
            with self._news:
                self._left -= 1
                self._news.notify_all()

    def _note(self, news: list[Outcome]) -> None:
        self._outcomes += news
        if self._run is None:
            return
        try:
            folder = open_store(*self._run)
            if news or not folder.exists(REPORT):  # another actor's stays
                folder.write_bytes(REPORT, report_json(self._outcomes))
        except Exception as error:
            logger.exception("tune_ckpt: %s", REPORT)
            self._outcomes.append(failed("", "hook", error))


def _lost(checkpoint: str, reason: Exception) -> list[Outcome]:
    logger.warning("tune_ckpt: %s: %s", checkpoint, reason)
    return [failed(checkpoint, "hook", reason)]


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
