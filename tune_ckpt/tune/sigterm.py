"""SIGTERM in a trial's process: a notice first, the end the second time.

A signal's handler can be set, and is called, in the main thread alone. There Ray runs an actor's
methods; a training function has another thread.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import ray


class Notice:
    """Whether SIGTERM has come since it is listened for."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self._asked = False

    def listen(self) -> None:
        """Set the handler, once; in the main thread."""
        if self._asked:
            return
        self._asked = True
        _set_handler(self.came)

    def listen_from_elsewhere(self) -> None:
        """Have the handler set, once, after the actor's method that is running."""
        if self._asked:
            return
        self._asked = True
        ray.get_runtime_context().current_actor.__ray_call__.remote(_set_in_actor)


def _set_in_actor(actor: Any) -> None:
    _set_handler(notice.came)


def _set_handler(came: threading.Event) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        """Note the signal; a second one has its usual effect."""
        came.set()
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, handle)


def end() -> None:
    """End this process, as SIGTERM demanded; Tune may start the trial again."""
    os.kill(os.getpid(), signal.SIGTERM)  # the second one goes to Ray's own handler,
    threading.Event().wait()  # which ends the process; nothing is to be done meanwhile


notice = Notice()  # signals are a process's
