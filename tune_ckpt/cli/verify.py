"""``tune-ckpt verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from tune_ckpt.tree.verify import verify as verify_path


def verify(paths: Annotated[list[str], typer.Argument(help="Checkpoints: paths or URIs.")]) -> None:
    """Check every byte of checkpoints; exit with 3 if one is damaged."""
    reports = [verify_path(path) for path in paths]
    for report in reports:
        print(report)
    if not all(report.ok for report in reports):
        raise typer.Exit(3)
