"""``tune-ckpt clean``."""

from __future__ import annotations

from typing import Annotated

import typer

import tune_ckpt as tc
from tune_ckpt.cli import output
from tune_ckpt.cli.options import AsJson, check_folder


def clean(
    path: Annotated[str, typer.Argument(help="A checkpoint or a sweep: a path or a URI.")],
    older_than_secs: Annotated[
        float | None,
        typer.Option(
            help="Where there are no locks, as on S3: how much older a file must be than the "
            "newest beside it, by default a day. 0 only while nobody saves there.",
            min=0,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete what killed writers left behind: beside a checkpoint, in it, and in all below it.

    What a living process still writes stays.
    """
    check_folder(path)
    options = {} if older_than_secs is None else {"older_than_secs": older_than_secs}
    deleted = tc.clean(path, **options)
    if as_json:
        output.say_json({"path": path, "deleted": deleted})
        return
    for leftover in deleted:
        output.say(leftover)
    output.remark(f"{len(deleted)} leftover(s) deleted")
