"""``tune-ckpt upgrade``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tune_ckpt.cli import output
from tune_ckpt.cli.options import AsJson, WrongUse, check_no_sweep, check_there
from tune_ckpt.cli.watching import watched


def upgrade(
    old: Annotated[str, typer.Argument(help="A checkpoint of RLlib's: a path or a URI.")],
    new: Annotated[str, typer.Argument(help="The new one's folder.")],
    env: Annotated[
        str | None, typer.Option(help="The environment's name, in the place of the stored one.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting in the place of a stored one; any number of them.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint of an older RLlib's again, as one that Ray 2.60 loads.

    Nothing that it names is imported. What was not carried is told; it can be given by --env and
    --config, whose values are JSON or text.
    """
    from tune_ckpt.cli.failing import at_the_prompt
    from tune_ckpt.rllib import upgrade_checkpoint

    check_there(old)
    check_no_sweep(old)
    settings = dict(map(_setting, config or ()))
    with watched(f"Upgrading {old}", [old], passes=2):
        upgraded = upgrade_checkpoint(old, new, config=settings or None, env=env)
    notes = [at_the_prompt(str(note)) for note in upgraded.notes]
    if as_json:
        output.say_json({"src": old, "dst": str(upgraded), "notes": notes})
    else:
        output.say(str(upgraded))
        for note in notes:
            output.remark(f"note: {note}")


def _setting(typed: str) -> tuple[str, Any]:
    key, equals, value = typed.partition("=")
    if not (equals and key.strip()):
        raise WrongUse(f"--config {typed}: give a setting and its value, as lr=0.001")
    try:
        return key.strip(), json.loads(value)
    except ValueError:
        return key.strip(), value
