"""A queue of small jobs that are done beside a sweep, off the driver's event loop."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Event, Lock, Thread
from typing import Any

from tune_ckpt.tune.worker import Worker

_Job = tuple[Callable[..., Any], tuple[Any, ...]]


class JobQueue:
    """Has jobs done by a `Worker`: a few at a time, and those of one key one after the other.

    Who adds a job or takes results only touches queues in memory: threads of ours speak with Ray.
    They are daemons, so that none can hold up the end of the process.

    Args:
        limit: How many jobs may run at once.
        on_failure: Makes a result for a job that could not be done, from its key and the error.
    """

    def __init__(self, limit: int, on_failure: Callable[[str, Exception], Any]) -> None:
        self._limit = limit
        self._on_failure = on_failure
        self._open: Counter[str] = Counter()  # how many jobs of each key have not ended
        self._added: SimpleQueue[tuple[str, Callable[..., Any], Any]] = SimpleQueue()
        self._ready: SimpleQueue[str] = SimpleQueue()  # the keys of which no job runs
        self._results: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._waiting: dict[str, deque[_Job]] = {}  # by keys, those that run included
        self._waiting_lock = Lock()
        self._closed = Event()
        self._worker = Worker(limit)
        self._has_begun = False

    def __len__(self) -> int:
        return self._open.total()

    def add(self, key: str, job: Callable[..., Any], *args: Any) -> None:
        """Append a job."""
        self.add_prepared(key, job, lambda: args)

    def add_prepared(
        self, key: str, job: Callable[..., Any], prepare: Callable[[], tuple[Any, ...]]
    ) -> None:
        """Append a job whose arguments are made at once, in a thread, whatever else is waiting."""
        if not self._has_begun:
            self._begin()
        self._open[key] += 1
        self._added.put((key, job, prepare))

    def results(self, timeout_secs: float = 0.0) -> list[Any]:
        """Return the results of jobs that ended since the last call.

        Args:
            timeout_secs: How long to wait for one; by default not at all.
        """
        results = []
        try:
            found = self._results.get(timeout_secs > 0, timeout_secs or None)
            while True:
                key, result = found
                self._open[key] -= 1
                results.append(result)
                found = self._results.get_nowait()
        except Empty:
            return results

    def drain(self, deadline: float) -> Iterator[Any]:
        """Yield the results of all jobs as they end, until ``time.monotonic()`` is there."""
        while len(self) and (left := deadline - time.monotonic()) > 0:
            yield from self.results(min(left, TIMEOUT_MAX))  # it may be infinite

    def close(self) -> list[str]:
        """End the worker, forget every job that has not ended, and return their keys."""
        self._closed.set()
        self._worker.close()
        keys = list(self._open.elements())
        self._open.clear()
        for _ in range(self._limit):
            self._ready.put("")
        self._added.put(("", _do_nothing, tuple))
        return keys

    def _begin(self) -> None:
        self._has_begun = True
        for work in (self._sort, *[self._work] * self._limit):
            Thread(target=work, name="tune_ckpt", daemon=True).start()

    # ----------------------------------------------------------------------------- in threads

    def _sort(self) -> None:
        """Prepare each new job, and put it behind those of its key."""
        while True:
            key, job, prepare = self._added.get()
            if self._closed.is_set():
                return
            try:
                args = prepare()
            except Exception as error:  # noqa: BLE001  # the thread must live on
                self._results.put((key, self._on_failure(key, error)))
                continue
            with self._waiting_lock:
                if key not in self._waiting:
                    self._ready.put(key)
                self._waiting.setdefault(key, deque()).append((job, args))

    def _work(self) -> None:
        """Do the jobs of one key after the other."""
        while True:
            key = self._ready.get()
            while found := self._next(key):
                self._results.put((key, self._run(key, *found)))
            if self._closed.is_set():
                return

    def _next(self, key: str) -> _Job | None:
        with self._waiting_lock:
            if not self._closed.is_set() and self._waiting[key]:
                return self._waiting[key].popleft()
            self._waiting.pop(key, None)
            return None

    def _run(self, key: str, job: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            return self._worker.do(job, args)
        except Exception as error:  # noqa: BLE001  # Ray's, the job's, or of what cannot be sent
            return self._on_failure(key, error)


def _do_nothing() -> None:
    """The job that only wakes the thread which sorts."""
