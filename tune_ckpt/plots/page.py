"""A sweep's pictures as one HTML file that needs nothing else, on light or dark ground."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.plots.curves import draw_curves
from tune_ckpt.plots.history import History
from tune_ckpt.plots.sizes import draw_sizes
from tune_ckpt.plots.theme import DARK, LIGHT
from tune_ckpt.plots.timeline import draw_timeline
from tune_ckpt.tree.inspection.describe import describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 2rem auto; max-width: 60rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  background: {light.ground}; color: {light.ink}; }}
h1 {{ font-size: 1.5rem; overflow-wrap: anywhere; }}
picture {{ display: block; overflow-x: auto; margin-bottom: 2rem; }}
img {{ width: 100%; min-width: 40rem; height: auto; }}
code {{ font-size: 0.9em; overflow-wrap: anywhere; }}
footer {{ color: {light.faint}; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: {dark.ground}; color: {dark.ink}; }}
  footer {{ color: {dark.faint}; }}
}}
</style>
<h1>{title}</h1>
{told}
{pictures}
<footer>Made by tune-ckpt plot.</footer>
</html>
"""


def page(history: History) -> str:
    """Return the HTML page of a sweep: its curves, the sizes of its best checkpoint, its saves."""
    pictures = [_picture(lambda dark: draw_curves(history, dark=dark), history.metric.name)]
    told = [f"<p>Passed over: {escape(line)}</p>" for line in history.damaged]
    if history.best is not None:
        told.append(f"<p>The best checkpoint: <code>{escape(history.best.path)}</code></p>")
        pictures.append(_sizes(history))
    pictures.append(_picture(lambda dark: draw_timeline(history, dark=dark), "saves"))
    return _PAGE.format(
        title=escape(f"{history.metric.name} in {history.name}"),
        told="\n".join(told),
        pictures="\n".join(pictures),
        light=LIGHT,
        dark=DARK,
    )


def _sizes(history: History) -> str:
    assert history.best is not None
    try:
        description = describe(history.best)
    except TuneCkptError as error:  # not one that can be looked into: a framework's own files
        return f"<p>What is in it cannot be told: {escape(str(error))}</p>"
    return _picture(lambda dark: draw_sizes(description, dark=dark), "sizes of components")


def _picture(draw: Callable[[bool], Figure], alternative: str) -> str:
    light, dark = (_uri(draw(dark)) for dark in (False, True))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{escape(alternative)}" src="{light}"></picture>'
    )


def _uri(made: Figure) -> str:
    stream = io.BytesIO()
    made.savefig(stream, format="svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"
