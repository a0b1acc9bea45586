"""Ctrl-C, and SIGTERM alike, at a moment at which nothing is half-done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CODE = 128 + signal.SIGINT


def heed_sigterm() -> None:
    """Let SIGTERM do what Ctrl-C does; Ray's start sets a handler of its own."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    handler = signal.getsignal(signal.SIGINT)
    # A shell lets what it starts in the background ignore Ctrl-C, and nothing else.
    (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, None)


@contextmanager
def held_back() -> Iterator[None]:
    """Let an interrupt wait until what runs here is done.

    Raises:
        KeyboardInterrupt: One came meanwhile.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


@contextmanager
def left_to_this_process() -> Iterator[None]:
    """Let processes that begin here ignore interrupts, for ever: they finish what they do."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _BOTH}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_BOTH = (signal.SIGINT, signal.SIGTERM)
