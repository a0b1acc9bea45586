"""Calls that a hook leaves to a thread: the controller's event loop must not wait for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

logger = logging.getLogger(__name__)


class Later:
    """Makes one call after the other in a thread of its own. Pickled, it is a new one.

    The thread is a daemon, so that it cannot hold up the end of the process. What fails is logged.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._thread: Thread | None = None
        self._idle_secs: float | None = None
        self._idle_call: Callable[[], Any] = _nothing

    def __reduce__(self) -> tuple[type[Later], tuple[()]]:
        return Later, ()

    def when_idle(self, secs: float, function: Callable[[], Any]) -> None:
        """Have a function called whenever there was nothing else to call for so long."""
        self._idle_secs, self._idle_call = secs, function

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Have a function called."""
        self._calls.put((function, args))
        if self._thread is None:
            self._thread = Thread(target=self._work, name="tune_ckpt", daemon=True)
            self._thread.start()

    def flush(self, timeout_secs: float) -> None:
        """Wait until all calls were made."""
        if self._thread is not None:
            done = Event()
            self.call(done.set)
            done.wait(timeout_secs)

    def _work(self) -> None:
        while True:
            function, args = self._next()
            try:
                function(*args)
            except Exception:
                logger.exception("tune_ckpt: %s failed; the run goes on", function.__name__)

    def _next(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        try:
            return self._calls.get(timeout=self._idle_secs)
        except Empty:
            return self._idle_call, ()


def _nothing() -> None:
    """What is done by default when there is nothing to do."""
