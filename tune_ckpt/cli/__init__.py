"""Floor 5: the ``tune-ckpt`` command, one small module a subcommand.

What a subcommand needs is imported when it runs: ``--help`` loads none of the package.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tune_ckpt.cli import (
    best,
    clean,
    convert,
    demo,
    diff,
    interrupts,
    ls,
    output,
    plot,
    prune,
    resume,
    scan,
    show,
    upgrade,
    verify,
    weights,
)
from tune_ckpt.version import __version__

app = typer.Typer(
    help="Look into, compare, verify and convert the checkpoints of Ray Tune, Train and RLlib.",
    epilog="Exit codes: 0 all is well, 1 the answer is no or it could not be done, 2 wrong use, "
    "3 a checkpoint is damaged, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        output.say(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_tell_version, is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show an error's traceback.")] = False,
) -> None:
    """Declare what every subcommand takes; see `main`."""


_SUBCOMMANDS = (
    *(ls, best, show, diff, verify, convert, upgrade),
    *(scan, weights, prune, clean, resume, plot, demo),
)
for _module in _SUBCOMMANDS:
    _command = getattr(_module, _module.__name__.rpartition(".")[2])
    _paragraphs = str(inspect.getdoc(_command)).split("\n\n")  # each wraps as the terminal is wide
    app.command(help="\n\n".join(" ".join(text.split()) for text in _paragraphs))(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; what goes wrong is one message, not a traceback.

    Args:
        arguments: What was typed; by default this process's.
    """
    given = sys.argv[1:] if arguments is None else [*arguments]
    debug = "--debug" in given
    others = [argument for argument in given if argument != "--debug"]  # it may stand anywhere
    output.prepare()
    interrupts.heed_sigterm()
    try:
        code = app(others or ["--help"], prog_name="tune-ckpt", standalone_mode=False) or 0
        output.flush()
    except Exception as error:
        if debug:
            raise
        from tune_ckpt.cli import failing

        code = failing.tell(error, as_json="--json" in others)
    if code == interrupts.EXIT_CODE:
        output.remark("tune-ckpt: interrupted")
    sys.exit(code)
