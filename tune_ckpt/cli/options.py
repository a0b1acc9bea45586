"""Arguments and options that several subcommands share."""

from __future__ import annotations

import shlex
from enum import Enum
from typing import Annotated

import typer


class MaxOrMin(str, Enum):
    """What is better: more or less."""

    MAX = "max"
    MIN = "min"


class Scopes(str, Enum):
    """Which of a trial's values count when trials are compared: Tune's scopes."""

    LAST = "last"
    AVG = "avg"
    LAST_5_AVG = "last-5-avg"
    LAST_10_AVG = "last-10-avg"
    ALL = "all"


Experiment = Annotated[str, typer.Argument(help="The sweep's folder: a path or a URI.")]
Checkpoint = Annotated[str, typer.Argument(help="A checkpoint: a path or a URI.")]
Metric = Annotated[str, typer.Option(help="The metric, a/b for nested ones.")]
Mode = Annotated[
    MaxOrMin | None, typer.Option(help="Whether more or less is better; by default more.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(help="A value that the config must have, as lr=0.1 or a/b=2; repeatable."),
]
Scope = Annotated[
    Scopes | None,
    typer.Option(
        help="Compare trials by those of their values; by default each checkpoint by its own."
    ),
]
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
    if not _names(path):
        raise WrongUse(f"{path}: nothing is there. Is the path right?")


def check_folder(path: str) -> None:
    """Refuse a path at which there is nothing, or a file that is no archive.

    Raises:
        WrongUse: There is no folder.
    """
    from tune_ckpt.tree.storage.store import is_plain_file

    check_there(path)
    if is_plain_file(path):
        raise WrongUse(f"{path} is a file. A folder is wanted: a sweep's, or a checkpoint's")


def is_sweep(path: str) -> bool:
    """Say whether a sweep's folder is there."""
    from tune_ckpt.tree.storage.store import is_plain_file

    names = [] if is_plain_file(path) else _names(path)
    return any(name == "tuner.pkl" or name.startswith("experiment_state-") for name in names)


def check_no_sweep(path: str) -> None:
    """Refuse a sweep's folder where a checkpoint is wanted.

    Raises:
        WrongUse: It is one.
    """
    if is_sweep(path):
        raise WrongUse(
            f"{path} is a whole sweep's folder, not a checkpoint. Its checkpoints: "
            f"tune-ckpt ls {shlex.quote(path)}"
        )


def how_to_verify(sweep: str) -> str:
    """Return how all checkpoints of a sweep are verified."""
    if "://" in sweep:  # where the shell finds no names
        return f"tune-ckpt verify, with paths that tune-ckpt ls {shlex.quote(sweep)} lists"
    return f"tune-ckpt verify {shlex.quote(sweep.rstrip('/'))}/*/checkpoint_*"


def part_of(checkpoint: str, component: str | None) -> str:
    """Return the path of a checkpoint's component; of the whole where there is none."""
    from tune_ckpt.sweep.paths import below

    return below(checkpoint, component) if component else checkpoint


def _names(path: str) -> list[str]:
    """Return the names in a folder, or the name of a file: RLlib's may be checkpoints."""
    from tune_ckpt.tree.storage import retrying
    from tune_ckpt.tree.storage.store import is_plain_file, open_parent, open_store

    with retrying.impatient():  # it is the first contact
        if is_plain_file(path):
            return [open_parent(path)[1]]
        return [entry.name for entry in open_store(path).list()]
