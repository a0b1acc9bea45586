"""``python -m tune_ckpt``, and ``tune-ckpt``: the command, or what it needs."""

from __future__ import annotations

import sys

from tune_ckpt.errors import MissingDependencyError


def main() -> None:
    """Run the command; where only what reads checkpoints is installed, say what is missing."""
    try:
        from tune_ckpt.cli import main as run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"tune-ckpt: {MissingDependencyError('typer', 'The command')}")
    run()


if __name__ == "__main__":
    main()
