"""The process that does a sweep's jobs: a Ray actor, which is started anew where it is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Event, Lock
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

_NICENESS = 10  # trials come first
_TRIES = 3  # a job under which so many processes end is itself to blame
_PAUSE_SECS = 0.5


class Worker:
    """Does jobs in an actor, a few at a time.

    The actor asks for no CPU: any that did would wait until a trial gives one up.

    Args:
        limit: How many jobs may run at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._closed = Event()
        self._actor: Any = None

    def do(self, job: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Do a job, and return its result; do it again if its process or node is lost under it.

        Raises:
            RayActorError: Several processes were.
            Exception: What the job raised.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._try(job, args)
            except RayActorError:
                self._wait()
        return self._try(job, args)

    def close(self) -> None:
        """End the actor, and with it the jobs that run."""
        self._closed.set()
        with self._lock:
            actor, self._actor = self._actor, None
        if actor is not None:
            ray.kill(actor)

    def _try(self, job: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            return ray.get(self._running().run.remote(job, *args))
        except RayTaskError as error:  # its message is a traceback
            raise error.cause from error

    def _wait(self) -> None:
        """Wait until the actor answers again, or is known to be gone for good.

        Ray may take half a minute to notice that a node is gone. Until then, and until the actor
        runs elsewhere, every call fails at once.
        """
        while ray.is_initialized() and not self._closed.wait(_PAUSE_SECS):
            actor = self._running()
            try:
                ray.get(actor.__ray_ready__.remote())
            except ActorDiedError:
                self._forget(actor)
            except RayActorError:
                continue
            return

    def _running(self) -> Any:
        with self._lock:
            if self._closed.is_set():
                raise RuntimeError("the jobs were given up")
            if self._actor is None:
                options = {"max_concurrency": self._limit, "max_restarts": -1}
                self._actor = ray.remote(num_cpus=0)(_Process).options(**options).remote()
            return self._actor

    def _forget(self, actor: Any) -> None:
        with self._lock:
            if self._actor is actor:
                self._actor = None


class _Process:
    def __init__(self) -> None:
        os.nice(_NICENESS)

    def run(self, job: Callable[..., Any], *args: Any) -> Any:
        """Do a job; whatever it raises leaves the process alive."""
        try:
            return job(*args)
        except Exception:
            raise
        except BaseException as error:  # such as SystemExit, with which Ray would end the actor
            raise RuntimeError(repr(error)) from error
