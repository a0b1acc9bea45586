"""How records and reports look in a notebook: one heading, a table of facts, and what is below."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def as_html(
    title: object,
    rows: Iterable[tuple[object, object]],
    below: Iterable[str] = (),
    *,
    unfolded: bool = True,
) -> str:
    """Return HTML that can be folded; all text is escaped.

    Args:
        title: The heading.
        rows: Facts, each with its name.
        below: HTML of parts, which stands indented.
        unfolded: Show more than the heading at first.
    """
    cells = "".join(
        f'<tr><td style="text-align:left;vertical-align:top">{_text(name)}</td>'
        f'<td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in rows
    )
    table = f"<table>{cells}</table>" if cells else ""
    parts = "".join(f'<div style="margin-left:1.5em">{part}</div>' for part in below)
    heading = f"<summary><b>{_text(title)}</b></summary>"
    return f"<details{' open' * unfolded}>{heading}{table}{parts}</details>"


def _text(value: object) -> str:
    return escape(str(value)).replace("\n", "<br>")
