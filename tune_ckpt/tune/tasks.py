"""A queue of small jobs that Ray runs beside a sweep, never on the driver's event loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import RayError


class TaskQueue:
    """Runs jobs as Ray tasks: a few at a time, and those of one key one after the other.

    The tasks ask for no CPU: any that did would wait until a trial gives one up.

    Args:
        limit: How many jobs may run at once.
        on_failure: Makes a result for a job whose process died, from its key and the reason.
    """

    def __init__(self, limit: int, on_failure: Callable[[str, str], Any]) -> None:
        self._limit = limit
        self._on_failure = on_failure
        self._waiting: deque[tuple[str, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running: dict[Any, str] = {}
        self._call = ray.remote(num_cpus=0, max_retries=0)(_call)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def add(self, key: str, job: Callable[..., Any], *args: Any) -> None:
        """Append a job; it starts when `advance` finds room for it."""
        self._waiting.append((key, job, args))

    def advance(self, timeout_secs: float = 0.0) -> list[Any]:
        """Start what can be started, and return the results of the jobs that ended.

        Args:
            timeout_secs: How long to wait for one to end; by default not at all.
        """
        self._start()
        if not self._running:
            return []
        ended, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_secs)
        results = [self._result(reference) for reference in ended]
        self._start()
        return results

    def drain(self, timeout_secs: float) -> Iterator[Any]:
        """Yield the results of all jobs as they end, until the time is up."""
        deadline = time.monotonic() + timeout_secs
        while len(self) and time.monotonic() < deadline:
            yield from self.advance(timeout_secs=min(1.0, max(0.0, deadline - time.monotonic())))

    def give_up(self) -> list[str]:
        """Forget every job that has not ended, and return their keys."""
        keys = [*self._running.values(), *(key for key, _, _ in self._waiting)]
        for reference in self._running:
            ray.cancel(reference)
        self._running.clear()
        self._waiting.clear()
        return keys

    def _start(self) -> None:
        busy = set(self._running.values())
        later = []
        while self._waiting and len(self._running) < self._limit:
            key, job, args = self._waiting.popleft()
            if key in busy:
                later.append((key, job, args))
                continue
            busy.add(key)
            self._running[self._call.remote(job, *args)] = key
        self._waiting.extendleft(reversed(later))

    def _result(self, reference: Any) -> Any:
        key = self._running.pop(reference)
        try:
            return ray.get(reference)
        except RayError as error:
            return self._on_failure(key, str(error))


def _call(job: Callable[..., Any], *args: Any) -> Any:
    return job(*args)
