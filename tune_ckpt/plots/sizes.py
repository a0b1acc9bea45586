"""What a checkpoint's size is made of: a bar for each component, stacked by what is below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tune_ckpt.plots.theme import Theme, counted, figure, theme, title
from tune_ckpt.sweep.configs import shortened
from tune_ckpt.tree.inspection.description import Description
from tune_ckpt.tree.units import human

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROWS, _SEGMENTS = 14, 5  # more are summed up
_NAME = 40  # characters of a component's name
_LEAST = 8  # characters that are left of a name within a bar; of fewer nobody can tell it


@dataclass(frozen=True)
class _Row:
    name: str
    segments: list[tuple[str, int]]
    summed: bool = False

    @property
    def nbytes(self) -> int:
        """The length of the bar."""
        return sum(nbytes for _, nbytes in self.segments)


def draw_sizes(description: Description, *, dark: bool = False) -> Figure:
    """Draw the sizes of a checkpoint's components, the largest first.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    colors, rows = theme(dark), _rows(description)
    largest = max(1, *(row.nbytes for row in rows))  # perhaps that of the summed up ones
    with figure(1.3 + 0.36 * len(rows), colors) as made:
        axes = made.add_subplot()
        for place, row in enumerate(reversed(rows)):
            _draw(axes, place, row, description.total_nbytes, largest, colors)
        axes.set_yticks(range(len(rows)), [shortened(row.name, _NAME) for row in reversed(rows)])
        axes.tick_params(axis="y", length=0, labelcolor=colors.ink)
        axes.set_xticks([])
        axes.set_xlim(0, largest * 1.28)
        axes.spines[:].set_visible(False)
        count = counted(sum(1 for _ in description.walk()), "component")
        below = f"{human(description.total_nbytes)} in {count}"
        title(axes, f"Size of {_last(description.name)}", below, colors)
    return made


def _last(path: str) -> str:
    return "/".join(path.rstrip("/").split("/")[-2:])


def _rows(description: Description) -> list[_Row]:
    rows = [_Row("(its own files)", list(description.files.items()))] if description.files else []
    rows += [_Row(child.name, _segments(child)) for child in description.components]
    rows = sorted(rows, key=lambda row: -row.nbytes) or [_Row("(nothing)", [])]
    rest = rows[_ROWS:] if len(rows) > _ROWS + 1 else []
    if not rest:
        return rows
    return [
        *rows[:_ROWS],
        _Row(f"{len(rest):,} more", [("", sum(r.nbytes for r in rest))], summed=True),
    ]


def _segments(part: Description) -> list[tuple[str, int]]:
    own = [("own files", part.nbytes)] if part.nbytes else []
    parts = [*own, *((child.name, child.total_nbytes) for child in part.components)]
    parts.sort(key=lambda item: -item[1])
    rest = sum(nbytes for _, nbytes in parts[_SEGMENTS:])
    return [*parts[:_SEGMENTS], *([(f"{len(parts) - _SEGMENTS} more", rest)] if rest else [])]


def _draw(axes: Axes, place: int, row: _Row, total: int, largest: int, colors: Theme) -> None:
    start = 0
    for number, (name, nbytes) in enumerate(row.segments):
        color = colors.faint if row.summed else colors.series[number % len(colors.series)]
        edge: dict[str, Any] = {"edgecolor": colors.ground, "linewidth": 1}
        axes.barh(place, nbytes, left=start, height=0.72, color=color, **edge)
        fitting = int(80 * nbytes / largest) - 2  # about so many characters
        if len(row.segments) > 1 and fitting >= min(len(name), _LEAST):
            middle = start + nbytes / 2
            text = shortened(name, fitting)
            axes.text(
                middle, place, text, ha="center", va="center", fontsize=8, color=colors.ground
            )
        start += nbytes
    share = f"  {human(row.nbytes)}, {row.nbytes / max(1, total):.0%}"
    axes.text(start, place, share, va="center", fontsize=9, color=colors.faint)
