"""What the command prints: JSON, text, and tables that fit a terminal or a pipe.

Answers go to stdout; remarks and progress bars to stderr, so that a pipe gets the answer alone.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def prepare() -> None:
    """Let no letter that a terminal or a pipe cannot show be an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Let the answer go out; nobody may want the rest of it, as behind ``| head``."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else it fails at the end


def is_terminal() -> bool:
    """Say whether somebody watches: then there are progress bars."""
    return sys.stderr.isatty()


def console() -> Console:
    """Return what writes to stdout: in color at a terminal, unless ``NO_COLOR`` is set."""
    from rich.console import Console

    made = Console(highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = _ENDLESS  # a pipe gets whole lines
    return made


_ENDLESS = 100_000


def say(text: Any) -> None:
    """Print a line of the answer as it is, however long, or something that rich can render."""
    console().print(text, soft_wrap=isinstance(text, str))  # a path must not be broken


def remark(text: str) -> None:
    """Tell something that is not the answer itself."""
    print(text, file=sys.stderr)


def remark_each(what: str, lines: Sequence[str]) -> None:
    """Tell several such things, but no more than somebody reads."""
    for line in lines[:_REMARKS]:
        remark(f"{what}: {line}")
    if len(lines) > _REMARKS:
        remark(f"{what}: {len(lines) - _REMARKS} more, which --json lists")


_REMARKS = 10


def say_json(answer: Any) -> None:
    """Print an answer as JSON; what JSON cannot express stands there as text."""
    print(json.dumps(_plain(answer), indent=2, default=str))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: Any = None) -> None:
    """Print a table: at a terminal one that fits it, in a pipe a line a row, with tabs between."""
    to = console()
    if not to.is_terminal:
        for row in (columns, *rows):
            print(*(_cell(value).replace("\t", " ").replace("\n", " ") for value in row), sep="\t")
        return
    to.print(_table(columns, [*rows], title))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: Any) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for number, name in enumerate(columns):
        numeric = all(isinstance(row[number], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) if isinstance(value, _PLAIN) else value for value in row))
    return table


_PLAIN = (str, int, float, type(None))  # other cells are rich's own


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return _plain(value.item())  # NumPy's scalars, and arrays of no dimension
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def styled(text: str, style: str) -> Any:
    """Return text that has a color at a terminal."""
    from rich.text import Text

    return Text(text, style)
