"""``tune-ckpt scan``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

import tune_ckpt as tc
from tune_ckpt.cli import output
from tune_ckpt.cli.options import AsJson

if TYPE_CHECKING:
    from tune_ckpt.tree.inspection.scan import ScannedFile, ScanReport

_STYLES = {"dangerous": "bold red", "unknown": "yellow", "harmless": "green"}


def scan(
    path: Annotated[str, typer.Argument(help="A file, checkpoint, sweep or folder: path or URI.")],
    as_json: AsJson = False,
) -> None:
    """List what pickles would import if they were loaded; exit with 1 if it is dangerous.

    Dangerous is what runs commands or code, or is code. Unknown are other classes and functions.
    What cannot be looked through to its end exits with 1, too.
    """
    watched = output.is_terminal()
    report = tc.scan(path, progress=watched, found=_warn if watched else None)
    if as_json:
        output.say_json(report.to_dict())
    else:
        _say(report)
    raise typer.Exit(0 if report.ok else 1)


def _warn(file: ScannedFile) -> None:
    """Tell what is dangerous at once: the whole answer may take its time."""
    for named in file.names:
        if named.verdict == "dangerous":
            output.remark(f"dangerous: {file.path} would import {named.name}")


def _say(report: ScanReport) -> None:
    from tune_ckpt.tree.inspection.verdicts import WORST_FIRST

    rows = {
        verdict: [
            (verdict, named.name, named.reason or None, _where(files))
            for named, files in report.named(verdict).items()
        ]
        for verdict in WORST_FIRST
    }
    if output.console().is_terminal:
        for verdict in [verdict for verdict in WORST_FIRST if rows[verdict]]:
            _say_verdict(verdict, rows[verdict])
    else:
        columns = ("verdict", "name", "because", "in")
        output.say_table(columns, [row for verdict in WORST_FIRST for row in rows[verdict]])
    for file in report.files:
        if file.problem:
            output.remark(f"not looked through to its end: {file.path}: {file.problem}")
    counts = [f"{len(rows[verdict])} {verdict}" for verdict in WORST_FIRST]
    output.remark(f"{len(report.files)} file(s) with pickles; names: {', '.join(counts)}")


def _say_verdict(verdict: str, rows: list[Any]) -> None:
    reasons = any(row[2] for row in rows)
    columns = ("it would import", *(["because it"] if reasons else []), "in")
    cells = [(row[1], *([row[2]] if reasons else []), row[3]) for row in rows]
    output.say_table(columns, cells, output.styled(verdict, _STYLES[verdict]))


def _where(files: list[str]) -> str:
    return files[0] if len(files) == 1 else f"{len(files)} files"
