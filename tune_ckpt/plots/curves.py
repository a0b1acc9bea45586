"""A sweep's metric over time, with every checkpoint marked and the best starred."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from tune_ckpt.plots.history import Curve, History, Mark, read_history
from tune_ckpt.plots.theme import Theme, check_installed, counted, figure, theme, title
from tune_ckpt.sweep.configs import cut, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CROWD = 30  # trials from which on the rest is drawn fainter


def plot(
    experiment: Any,
    metric: str | None = None,
    mode: str | None = None,
    *,
    dark: bool = False,
    verify: bool = True,
    filesystem: Any = None,
) -> Figure:
    """Draw a metric of all trials of a sweep, with its checkpoints.

    Checkpoints are dots, hollow where they were deleted; the best that is usable is a star, and
    those that would be better, but are damaged, have a cross. The five best trials have colors.

    >>> plot("sweep", "eval/acc").savefig("sweep.png")

    Args:
        experiment: The sweep, as for `tune_ckpt.best_checkpoint`, also while it runs.
        metric: As for `tune_ckpt.best_checkpoint`.
        mode: As for `tune_ckpt.best_checkpoint`.
        dark: Draw it on dark ground.
        verify: Check every byte of the best, so that the star is what
            `tune_ckpt.best_checkpoint` returns; of the other checkpoints nothing is read.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the folder is to be looked up.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        UnknownMetricError: No result has such a metric; those there are, are listed.
        NoCheckpointError: There is no trial.
        MissingDependencyError: matplotlib is not installed.
    """
    check_installed()  # before a large sweep is read
    history = read_history(experiment, metric, mode, verify=verify, filesystem=filesystem)
    return draw_curves(history, dark=dark)


def draw_curves(history: History, *, dark: bool = False) -> Figure:
    """Draw what was read of a sweep."""
    colors = theme(dark)
    told = len(colors.series) if len(history.curves) > 1 else 1
    with figure(5.2, colors) as made:
        axes = made.add_subplot()
        rest = _CROWDED if len(history.curves) > _CROWD else _REST
        for curve in reversed(history.curves[told:]):
            _draw(axes, curve, colors.faint, colors, rest)
        for curve, color in reversed([*zip(history.curves[:told], colors.series, strict=False)]):
            _draw(axes, curve, color, colors, _TOLD)
        _draw_damaged(axes, history, colors)
        _draw_best(axes, history, colors)
        title(axes, f"{history.metric.name} in {history.name}", _summary(history), colors)
        _draw_scales(axes, history, colors)
        _draw_legend(made, history, told, colors)
    return made


def _draw_scales(axes: Axes, history: History, colors: Theme) -> None:
    if not any(curve.values for curve in history.curves):
        axes.set(xticks=[], yticks=[])
        style: dict[str, Any] = {"ha": "center", "transform": axes.transAxes, "color": colors.faint}
        axes.text(0.5, 0.5, "no result has a number for it", **style)
        return
    axes.set_xlabel("iteration")
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    power = axes.yaxis.get_offset_text()  # such as 1e12
    power.set(x=-0.01, ha="right")  # beside the text below the title, not in it
    axes.grid(axis="y")
    axes.margins(x=0.03, y=0.12)


class _Stroke(NamedTuple):
    """How a curve is drawn: how opaque, how wide, and how large its dots are."""

    alpha: float
    width: float
    dot: float


_TOLD, _REST, _CROWDED = _Stroke(0.9, 1.6, 5.0), _Stroke(0.5, 1.2, 4.0), _Stroke(0.25, 0.7, 2.0)


def _draw(axes: Axes, curve: Curve, color: str, colors: Theme, stroke: _Stroke) -> None:
    alpha = stroke.alpha
    axes.plot(curve.iterations, curve.values, color=color, linewidth=stroke.width, alpha=alpha)
    for deleted in (True, False):
        marks = [mark for mark in curve.marks if (mark.path is None) is deleted]
        face = colors.ground if deleted else color
        style: dict[str, Any] = {
            "markeredgecolor": color,
            "markerfacecolor": face,
            "markersize": stroke.dot,
        }
        x, y = _places(marks)
        axes.plot(x, y, "o", alpha=min(1.0, 2 * alpha), zorder=3, **style)


def _places(marks: list[Mark]) -> tuple[list[int], list[float]]:
    known = [(m.iteration, m.value) for m in marks if m.iteration is not None]
    places = [(x, y) for x, y in known if y is not None]
    return [x for x, _ in places], [y for _, y in places]


def _draw_damaged(axes: Axes, history: History, colors: Theme) -> None:
    x, y = _places([mark for mark in history.marks if mark.damaged])
    axes.plot(x, y, **_cross(colors), zorder=4)


def _cross(colors: Theme) -> dict[str, Any]:
    return {"marker": "x", "linestyle": "", "color": colors.ink, "markersize": 9}


def _draw_best(axes: Axes, history: History, colors: Theme) -> None:
    place = _place_of_best(history)
    if place is None:
        return
    style: dict[str, Any] = {"markeredgecolor": colors.ground, "markersize": 17, "zorder": 5}
    axes.plot(*place, "*", color=colors.accent, **style)
    above = history.metric.mode == "max"
    axes.annotate(
        f"{place[1]:.4g}",
        place,
        (0, 11 if above else -11),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        color=colors.accent,
        fontweight="bold",
        zorder=6,
    )


def _place_of_best(history: History) -> tuple[int, float] | None:
    """Return where the star is; None where there is none: infinity has no place in a picture."""
    best = history.best
    if best is None or best.iteration is None or not math.isfinite(best.value):
        return None
    return best.iteration, best.value


def _summary(history: History) -> str:
    marks, best = history.marks, history.best
    deleted = sum(mark.path is None for mark in marks)
    parts = [counted(len(history.curves), "trial"), counted(len(marks), "checkpoint")]
    parts += [f"{deleted:,} of them deleted"] if deleted else []
    parts += [f"{len(history.damaged):,} damaged"] if history.damaged else []
    if best is not None:
        trial = shortened(best.trial_id, 20)
        parts.append(f"best {best.value:.6g}: trial {trial}, iteration {best.iteration}")
    return ", ".join(parts)


def _draw_legend(made: Figure, history: History, told: int, colors: Theme) -> None:
    from matplotlib.lines import Line2D

    pairs = zip(history.curves[:told], colors.series, strict=False)
    handles = [Line2D([], [], color=c, label=cut(curve.label, 56)) for curve, c in pairs]
    rest = len(history.curves) - told
    if rest > 0:
        label = counted(rest, "other trial")
        handles.append(Line2D([], [], color=colors.faint, alpha=0.6, label=label))
    handles += _meanings(history, colors)
    columns = 1 if max(len(str(handle.get_label())) for handle in handles) > 56 else 2
    made.legend(handles=handles, loc="outside lower left", ncols=columns, fontsize=9)


def _meanings(history: History, colors: Theme) -> list[Any]:
    from matplotlib.lines import Line2D

    deleted = {mark.path is None for mark in history.marks}
    unverified = "" if history.best and history.best.verified else ", not verified"
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markeredgecolor": colors.faint}
    star: dict[str, Any] = {
        "marker": "*",
        "linestyle": "",
        "color": colors.accent,
        "markersize": 12,
    }
    meanings = [
        (False in deleted, "checkpoint", {**dot, "markerfacecolor": colors.faint}),
        (True in deleted, "deleted checkpoint", {**dot, "markerfacecolor": colors.ground}),
        (bool(history.damaged), "damaged checkpoint", _cross(colors)),
        (_place_of_best(history) is not None, f"best checkpoint{unverified}", star),
    ]
    return [Line2D([], [], label=label, **style) for shown, label, style in meanings if shown]
