"""``tune-ckpt plot``."""

from __future__ import annotations

import io
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune_ckpt.cli import output
from tune_ckpt.cli.options import (
    AsJson,
    Experiment,
    Metric,
    Mode,
    WrongUse,
    check_folder,
)
from tune_ckpt.cli.ranked import end_of, remark_end

if TYPE_CHECKING:
    from tune_ckpt.plots.history import History


class What(str, Enum):
    """The pictures."""

    CURVES = "curves"
    SIZES = "sizes"
    TIMELINE = "timeline"


def plot(
    experiment: Experiment,
    metric: Metric,
    to: Annotated[
        str,
        typer.Option("-o", "--output", help="The new file: *.html has it all, or *.png, *.svg."),
    ],
    mode: Mode = None,
    what: Annotated[What, typer.Option(help="What is drawn into a picture file.")] = What.CURVES,
    dark: Annotated[bool, typer.Option("--dark", help="Draw on dark ground.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a sweep's metric with its checkpoints, their sizes, and when they were saved."""
    from tune_ckpt.plots.history import read_history
    from tune_ckpt.plots.theme import check_installed
    from tune_ckpt.tree.progress import steps_bar
    from tune_ckpt.tree.storage.store import address_of, open_parent

    check_folder(experiment)
    parent, name = open_parent(to)
    suffix = name.rpartition(".")[2].lower()
    if suffix not in ("html", "png", "svg"):
        raise WrongUse(f"{name}: its name must end in .html, .png or .svg")
    check_installed()
    with steps_bar("Drawing", 2, shown=output.is_terminal()) as advance:
        history = read_history(experiment, metric, end_of(mode))
        advance(1)
        data = _page(history) if suffix == "html" else _picture(history, what, suffix, dark)
    parent.make()
    parent.write_bytes(name, data)
    if as_json:
        output.say_json({"path": address_of(to), **_facts(history)})
    else:
        output.say(address_of(to))
        remark_end(metric, mode)
        output.remark_each("passed over", history.damaged)


def _facts(history: History) -> dict[str, Any]:
    return {
        "trials": len(history.curves),
        "checkpoints": len(history.marks),
        "deleted": sum(mark.path is None for mark in history.marks),
        "best": history.best and history.best.path,
        "passed_over": history.damaged,
    }


def _page(history: History) -> bytes:
    from tune_ckpt.plots.page import page

    return page(history).encode()


def _picture(history: History, what: What, suffix: str, dark: bool) -> bytes:
    stream = io.BytesIO()
    _drawn(history, what, dark).savefig(stream, format=suffix)
    return stream.getvalue()


def _drawn(history: History, what: What, dark: bool) -> Any:
    from tune_ckpt.errors import NoCheckpointError
    from tune_ckpt.plots.curves import draw_curves
    from tune_ckpt.plots.sizes import draw_sizes
    from tune_ckpt.plots.timeline import draw_timeline
    from tune_ckpt.tree.inspection.describe import describe

    if what is What.CURVES:
        return draw_curves(history, dark=dark)
    if what is What.TIMELINE:
        return draw_timeline(history, dark=dark)
    if history.best is None:
        raise NoCheckpointError(history.name, ())
    return draw_sizes(describe(history.best), dark=dark)
