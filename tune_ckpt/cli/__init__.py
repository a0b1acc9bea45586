"""Floor 5: the ``tune-ckpt`` command, one small module a subcommand.

Exit codes: 0 all is well, 1 the answer is no, 2 wrong use, 3 a checkpoint is damaged.
"""

from __future__ import annotations

import sys

import typer

from tune_ckpt.cli import best, convert, verify
from tune_ckpt.errors import CorruptCheckpointError, CorruptDataError, TuneCkptError

app = typer.Typer(
    help="Look into, verify and convert the checkpoints of Ray Tune and Ray Train.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (best, convert, verify):
    app.command()(getattr(module, module.__name__.rpartition(".")[2]))

DAMAGED = 3


def main() -> None:
    """Run the command; what this package knows to be wrong is one message, not a traceback."""
    try:
        app()
    except TuneCkptError as error:
        print(f"tune-ckpt: {error}", file=sys.stderr)
        sys.exit(DAMAGED if isinstance(error, CorruptDataError | CorruptCheckpointError) else 1)
