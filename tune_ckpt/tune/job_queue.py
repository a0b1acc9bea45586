"""A queue of small jobs that a Ray actor does beside a sweep, off the driver's event loop."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import ray
from ray.exceptions import RayError

_Job = tuple[Callable[..., Any], tuple[Any, ...]]
_NICENESS = 10  # trials come first


class JobQueue:
    """Runs jobs in an actor: a few at a time, and those of one key one after the other.

    The actor asks for no CPU: any that did would wait until a trial gives one up. Nothing but the
    iteration of `drain` waits for it.

    Args:
        limit: How many jobs may run at once.
        on_failure: Makes a result for a job whose process died, from its key and the reason.
    """

    def __init__(self, limit: int, on_failure: Callable[[str, str], Any]) -> None:
        self._limit = limit
        self._on_failure = on_failure
        self._lock = Lock()
        self._waiting: dict[str, deque[_Job]] = {}  # by keys, those that run included
        self._results: SimpleQueue[Any] = SimpleQueue()
        self._open = 0
        self._threads = ThreadPoolExecutor(limit, thread_name_prefix="tune_ckpt")
        self._actor: Any = None

    def __len__(self) -> int:
        return self._open

    def add(self, key: str, job: Callable[..., Any], *args: Any) -> None:
        """Append a job."""
        with self._lock:
            self._open += 1
            is_new = key not in self._waiting
            self._waiting.setdefault(key, deque()).append((job, args))
        if is_new:
            self._threads.submit(self._run_all, key)

    def results(self, timeout_secs: float = 0.0) -> list[Any]:
        """Return the results of jobs that ended since the last call.

        Args:
            timeout_secs: How long to wait for one; by default not at all.
        """
        results = []
        try:
            results.append(self._results.get(timeout_secs > 0, timeout_secs or None))
            while True:
                results.append(self._results.get_nowait())
        except Empty:
            self._open -= len(results)
            return results

    def drain(self, timeout_secs: float) -> Iterator[Any]:
        """Yield the results of all jobs as they end, until the time is up."""
        deadline = time.monotonic() + timeout_secs
        while len(self) and time.monotonic() < deadline:
            yield from self.results(max(0.01, deadline - time.monotonic()))

    def close(self) -> list[str]:
        """End the actor, forget every job that has not ended, and return their keys."""
        with self._lock:
            keys = [key for key, jobs in self._waiting.items() for _ in range(len(jobs) + 1)]
            for jobs in self._waiting.values():
                jobs.clear()
            actor, self._actor = self._actor, None
        if actor is not None:
            ray.kill(actor)
        self._threads.shutdown()
        self._open = 0
        return keys

    def _run_all(self, key: str) -> None:
        while True:
            with self._lock:
                if not self._waiting[key]:
                    del self._waiting[key]
                    return
                job, args = self._waiting[key].popleft()
            self._results.put(self._run(key, job, args))

    def _run(self, key: str, job: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            return ray.get(self._worker().run.remote(job, *args))
        except RayError as error:
            return self._on_failure(key, str(error))

    def _worker(self) -> Any:
        with self._lock:
            if self._actor is None:
                options = {"max_concurrency": self._limit, "max_restarts": -1}
                self._actor = ray.remote(num_cpus=0)(_Worker).options(**options).remote()
            return self._actor


class _Worker:
    def __init__(self) -> None:
        os.nice(_NICENESS)

    def run(self, job: Callable[..., Any], *args: Any) -> Any:
        return job(*args)
