"""When a sweep's checkpoints were saved, and when they were converted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tune_ckpt.plots.history import Curve, History
from tune_ckpt.plots.theme import Theme, counted, figure, theme, title
from tune_ckpt.sweep.configs import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 40  # trials; of more the rows are too low for names


def draw_timeline(history: History, *, dark: bool = False) -> Figure:
    """Draw a row for each trial: its saves as dots, their conversions as squares.

    Saves of which nothing tells the time are left out.
    """
    colors = theme(dark)
    rows = sorted((c for c in history.curves if _times(c)), key=lambda c: min(_times(c)))
    height = max(2.6, 1.6 + (0.24 * len(rows) if len(rows) <= _NAMED else 6.0))
    with figure(height, colors) as made:
        axes = made.add_subplot()
        for place, curve in enumerate(reversed(rows)):
            _draw(axes, place, curve, colors, size=5.0 if len(rows) <= _NAMED else 2.2)
        named = rows if len(rows) <= _NAMED else []
        axes.set_yticks(range(len(named)), [cut(curve.label, 40) for curve in reversed(named)])
        axes.tick_params(axis="y", length=0, labelsize=8, labelcolor=colors.ink)
        axes.set_ylim(-0.7, max(len(rows), 1) - 0.3)
        axes.grid(axis="x")
        _draw_dates(axes, rows)
        title(axes, f"Saves and conversions of {history.name}", _summary(history), colors)
        _draw_legend(made, history, colors)
    return made


def _times(curve: Curve) -> list[Any]:
    return [mark.saved for mark in curve.marks if mark.saved is not None]


def _conversions(curve: Curve) -> list[Any]:
    return [mark.converted for mark in curve.marks if mark.converted is not None]


def _draw(axes: Axes, place: int, curve: Curve, colors: Theme, *, size: float) -> None:
    color, times = colors.series[0], _times(curve)
    axes.plot([min(times), max(times)], [place] * 2, color=colors.grid, linewidth=1, zorder=1)
    kept = [mark.saved for mark in curve.marks if mark.saved and mark.path is not None]
    deleted = [mark.saved for mark in curve.marks if mark.saved and mark.path is None]
    dot: dict[str, Any] = {"markeredgecolor": color, "markersize": size, "zorder": 3}
    _dots(axes, kept, place, "o", markerfacecolor=color, **dot)
    _dots(axes, deleted, place, "o", markerfacecolor=colors.ground, **dot)
    _dots(axes, _conversions(curve), place, "s", color=colors.series[1], markersize=size, zorder=2)


def _dots(axes: Axes, times: list[Any], place: int, marker: str, **style: Any) -> None:
    axes.plot(times, [place] * len(times), marker, **style)


def _draw_dates(axes: Axes, rows: list[Curve]) -> None:
    from matplotlib import dates

    drawn: Any = dates  # its stubs tell nothing
    if rows:
        locator = drawn.AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(drawn.ConciseDateFormatter(locator))
        axes.set_xlabel("UTC")
        shown = [time for row in rows for time in (*_times(row), *_conversions(row))]
        margin = (max(shown) - min(shown)) * 0.03 or timedelta(seconds=30)
        axes.set_xlim(min(shown) - margin, max(shown) + margin)
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no save tells its time", ha="center", transform=axes.transAxes)


def _summary(history: History) -> str:
    saves = sum(len(_times(curve)) for curve in history.curves)
    converted = sum(mark.converted is not None for mark in history.marks)
    return f"{counted(saves, 'save')}, {counted(converted, 'conversion')}"


def _draw_legend(made: Figure, history: History, colors: Theme) -> None:
    from matplotlib.lines import Line2D

    blue, orange = colors.series[:2]
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markeredgecolor": blue}
    square: dict[str, Any] = {"marker": "s", "linestyle": "", "color": orange}
    marks = history.marks
    meanings = [
        (any(mark.path for mark in marks), "saved", {**dot, "markerfacecolor": blue}),
        (
            any(mark.path is None for mark in marks),
            "saved, deleted since",
            {**dot, "markerfacecolor": colors.ground},
        ),
        (any(mark.converted for mark in marks), "converted", square),
    ]
    handles = [Line2D([], [], label=label, **style) for shown, label, style in meanings if shown]
    made.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=9)
