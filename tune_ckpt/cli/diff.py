"""``tune-ckpt diff``."""

from __future__ import annotations

from typing import Annotated

import typer

import tune_ckpt as tc
from tune_ckpt.cli import output
from tune_ckpt.cli.options import AsJson, Checkpoint, check_folder, check_no_sweep
from tune_ckpt.cli.watching import watched

_STYLES = {"added": "green", "removed": "red", "changed": "yellow", "-": "red", "+": "green"}


def diff(
    a: Checkpoint,
    b: Checkpoint,
    values: Annotated[
        bool,
        typer.Option("--values", help="Also tell by how much arrays differ, which reads them."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what differs between two checkpoints; exit with 1 if anything does."""
    for path in (a, b):
        check_folder(path)
        check_no_sweep(path)
    with watched("Comparing", [a, b]):
        found = tc.diff(a, b, values=values)
    if as_json:
        output.say_json(found.to_dict())
    else:
        for line in str(found).splitlines():
            output.say(output.styled(line, _STYLES.get(line.strip().partition(" ")[0], "")))
    raise typer.Exit(0 if found.equal else 1)
