"""How pictures look: on light and on dark ground."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.sweep.configs import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0  # inches; at 100 dots an inch
_TITLE = 54  # characters that fit beside the longest names


@dataclass(frozen=True)
class Theme:
    """The colors of a picture.

    Attributes:
        ground: Behind it all.
        ink: Text.
        faint: Secondary text, and lines that are not told apart.
        grid: Grid lines.
        accent: What is best.
        series: Lines that are told apart; also by people who do not see all colors.
    """

    ground: str
    ink: str
    faint: str
    grid: str
    accent: str
    series: tuple[str, ...]


LIGHT = Theme(
    *("#ffffff", "#1f2328", "#6e7781", "#e4e8ec", "#b35900"),
    ("#0072b2", "#d55e00", "#009e73", "#a855a0", "#7a6a00"),
)
DARK = Theme(
    *("#0d1117", "#e6edf3", "#8b949e", "#262d36", "#ffd33d"),
    ("#58a6ff", "#ff9e64", "#4fd6a0", "#e58fe0", "#d9c65a"),
)


def theme(dark: bool) -> Theme:
    """Return one of the two."""
    return DARK if dark else LIGHT


def check_installed() -> None:
    """Refuse to draw where there is nothing to draw with.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401  # whether it can be
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "A picture") from error


@contextmanager
def figure(height: float, colors: Theme) -> Iterator[Figure]:
    """Yield a figure to be drawn in.

    Args:
        height: Its height in inches.
        colors: Its colors.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    check_installed()
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), colors.ground),
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), colors.ink),
        **dict.fromkeys(("xtick.color", "ytick.color"), colors.faint),
        **{"axes.edgecolor": colors.grid, "grid.color": colors.grid, "axes.axisbelow": True},
        **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
        **{"font.size": 10, "legend.frameon": False, "savefig.dpi": 150},
        **{"figure.constrained_layout.w_pad": 0.12, "figure.constrained_layout.h_pad": 0.08},
        "text.parse_math": False,  # a dollar in a name is a dollar
    }
    with matplotlib.rc_context(settings):
        yield Figure((WIDTH, height), layout="constrained")


def title(axes: Axes, text: str, below: str, colors: Theme) -> None:
    """Write a title, and smaller text below it."""
    axes.set_title(f"{shortened(text, _TITLE)}\n", loc="left", fontweight="bold", fontsize=12)
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(shortened(below, 110), (0, 1), (0, 8), color=colors.faint, fontsize=9, **place)


def counted(count: int, word: str) -> str:
    """Return how many there are of something: ``1 trial``, ``2 trials``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
