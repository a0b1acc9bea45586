"""How many bytes are read, encoded and written, for progress bars."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_listeners: list[Callable[[int], object]] = []


@contextmanager
def heard(listener: Callable[[int], object]) -> Iterator[None]:
    """Call ``listener`` with the number of bytes each time that any thread has moved some."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(nbytes: int) -> None:
    """Say that so many bytes were read, encoded or written."""
    for listener in _listeners:
        listener(nbytes)


class Encoded(io.BytesIO):
    """What is encoded in memory before it is written, which may take as long as that."""

    def write(self, data: Any) -> int:
        """Take the next bytes."""
        nbytes = super().write(data)
        tell(nbytes)
        return nbytes
