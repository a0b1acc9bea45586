"""Progress bars for bytes and for steps, and the source that moves one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Lock
from typing import Any

from tune_ckpt.formats.io import Source

Advance = Callable[[int], None]


@contextmanager
def bytes_bar(what: str, nbytes: int | None, *, shown: bool) -> Iterator[Advance]:
    """Yield what to call with each number of bytes that are done, from any thread.

    Args:
        what: What is done.
        nbytes: How many bytes there are; None where nobody knows.
        shown: Whether there is a bar (on stderr), with the rate and the time that is left.
    """
    with _bar(what, nbytes, shown, "bytes") as advance:
        yield advance


@contextmanager
def steps_bar(what: str, count: int, *, shown: bool) -> Iterator[Advance]:
    """Yield what to call with each number of steps that are done, from any thread.

    Args:
        what: What is done.
        count: How many steps there are.
        shown: Whether there is a bar (on stderr), with the rate and the time that is left.
    """
    with _bar(what, count, shown, "steps") as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int | None, shown: bool, unit: str) -> Iterator[Advance]:
    if not shown or _is_notebook_without_widgets():
        yield lambda _: None
        return
    from rich import progress
    from rich.console import Console

    counts = {
        "bytes": (progress.DownloadColumn(binary_units=True), progress.TransferSpeedColumn()),
        "steps": (progress.MofNCompleteColumn(), _step_rate()),
    }
    console = Console(stderr=True)
    wide = console.width >= _BAR + _NUMBERS + _TEXT
    columns = (
        progress.TextColumn("{task.description}"),
        *((progress.BarColumn(_BAR),) if wide else ()),
        *(*counts[unit], progress.TimeRemainingColumn()),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        room = console.width - _NUMBERS - (_BAR if wide else 0)
        task = bar.add_task(_fitted(what, room), total=total)
        yield lambda done: bar.advance(task, done)


def _is_notebook_without_widgets() -> bool:
    """Say whether rich could draw nothing here but warn that it cannot, and leave empty outputs."""
    from rich.console import Console

    return Console(stderr=True).is_jupyter and find_spec("ipywidgets") is None


_BAR = 20
_NUMBERS = 40  # characters of counts, rate and time
_TEXT = 16  # of what is done, which matters more than the bar


def _fitted(what: str, room: int) -> str:
    """Return a text so short that there is room for what stands beside it."""
    half = max(10, room) // 2
    return what if len(what) <= 2 * half else f"{what[: half - 1]}…{what[-half:]}"


def _step_rate() -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            """Return the steps a second."""
            return Text(f"{task.speed or 0:.1f}/s")

    return Rate()


class Watched:
    """A source that tells how much of it is read.

    Attributes:
        done_nbytes: How many bytes were read.
    """

    def __init__(self, source: Source, advance: Advance) -> None:
        self.name, self.nbytes, self.chunk_nbytes = source.name, source.nbytes, source.chunk_nbytes
        self.done_nbytes = 0
        self._source = source
        self._advance = advance
        self._lock = Lock()

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        """Fill the buffers, and count."""
        self._source.read_into(offset, *buffers)
        nbytes = sum(buffer.nbytes for buffer in buffers)
        with self._lock:
            self.done_nbytes += nbytes
        self._advance(nbytes)

    def mapped(self) -> memoryview | None:
        """Return what the source returns; nobody can tell what is read of it."""
        return self._source.mapped()
