"""Arguments and options that several subcommands share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Mode(str, Enum):
    """What is better: more or less."""

    MAX = "max"
    MIN = "min"


Experiment = Annotated[str, typer.Argument(help="The sweep's folder: a path or a URI.")]
Checkpoint = Annotated[str, typer.Argument(help="The checkpoint: a path or a URI.")]
Metric = Annotated[str, typer.Option(help="The metric, a/b for nested ones.")]
Modes = Annotated[Mode, typer.Option(help="Whether more or less is better.")]
Component = Annotated[
    str | None, typer.Option(help="Only this subcomponent, / between levels.", metavar="PATH")
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Let pickles import and call what they name.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


class WrongUse(Exception):
    """What was typed makes no sense; the message tells what does."""


def check_there(path: str) -> None:
    """Refuse a path at which there is nothing.

    Raises:
        WrongUse: There is nothing.
    """
    from tune_ckpt.tree.storage import retrying
    from tune_ckpt.tree.storage.store import open_store

    with retrying.impatient():
        found = open_store(path).list()
    if not found:
        raise WrongUse(f"{path}: nothing is there. Is the path right?")


def check_no_sweep(path: str) -> None:
    """Refuse a sweep's folder where a checkpoint is wanted.

    Raises:
        WrongUse: It is one.
    """
    from tune_ckpt.tree.storage import retrying
    from tune_ckpt.tree.storage.store import is_plain_file, open_store

    with retrying.impatient():
        if is_plain_file(path):  # RLlib once had checkpoints of a single file
            return
        names = [entry.name for entry in open_store(path).list()]
    if any(name == "tuner.pkl" or name.startswith("experiment_state-") for name in names):
        raise WrongUse(
            f"{path} is a whole sweep's folder, not a checkpoint. Its checkpoints: "
            f"tune-ckpt ls {path}"
        )
