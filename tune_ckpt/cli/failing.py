"""What a failure is told as at the prompt, and the exit code that it has."""

from __future__ import annotations

from typing import Any

import typer

from tune_ckpt import errors
from tune_ckpt.cli import interrupts, output
from tune_ckpt.cli.options import WrongUse

NO, WRONG_USE, DAMAGED = 1, 2, 3  # what they mean, `tune-ckpt --help` tells

# Whatever typer says of what was typed: a class to which it gives no public name.
_Mistyped: type[BaseException] = typer.BadParameter.__mro__[1]

_CODES: dict[type[BaseException], int] = {
    WrongUse: WRONG_USE,
    _Mistyped: WRONG_USE,
    typer.Abort: interrupts.EXIT_CODE,  # at a question
    errors.InvalidArgumentError: WRONG_USE,
    errors.UnknownMetricError: WRONG_USE,
    errors.AmbiguousMetricError: WRONG_USE,
    errors.NotACheckpointError: WRONG_USE,
    errors.OccupiedFolderError: WRONG_USE,
    errors.ComponentNotFoundError: WRONG_USE,
    errors.CorruptDataError: DAMAGED,
    errors.CorruptCheckpointError: DAMAGED,
    errors.IncompleteCheckpointError: DAMAGED,
}

# What the messages advise in Python, as it is typed here.
_WORDS = {
    "pass allow_pickle=True": "pass --allow-pickle",
    "resume(..., portable=True)": "--portable",
    "where= refused all": "--where refused all",
    "where='": "--where '",
    "to='pickle' is not possible:": "--to pickle is not possible:",
    "pass env=": "pass --env",
    "pass one in config=, or to": "pass one to",  # a function
    "; or pass it in config=": "",  # likewise
    "pass config=": "pass --config",
    "dst=None is not possible; it may be:": "This is not converted in place: give as DST",
}

_SHOWN_LINES = 12


def tell(error: Exception, *, as_json: bool) -> int:
    """Print what is wrong, and return the exit code.

    Args:
        error: What was raised.
        as_json: Print it as the answer, too.
    """
    code = exit_code(error)
    if code == interrupts.EXIT_CODE:
        return code
    output.remark(f"tune-ckpt: {message(error)}")
    if as_json:
        kind = type(error).__name__
        output.say_json({"error": kind, "message": message(error), "exit_code": code})
    return code


def exit_code(error: BaseException) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), NO)


def message(error: BaseException) -> str:
    """Return what is wrong and what to do, for somebody at the prompt."""
    if isinstance(error, errors.TuneCkptError):
        return _shortened(at_the_prompt(str(error))) + _advice(error)
    if isinstance(error, OSError | WrongUse):
        return str(error)
    if isinstance(error, _Mistyped):
        return _mistyped(error)
    kind = type(error).__name__
    return f"{kind}: {error}. This is unexpected; --debug shows where, for a report of the defect."


def _mistyped(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "tune-ckpt"
    text = error.format_message().replace("Value error, ", "")  # what typer reads values with
    stop = "" if text.endswith((".", "?")) else "."
    return f"{text}{stop} What it takes: {command} --help"


def _advice(error: errors.TuneCkptError) -> str:
    if isinstance(error, errors.StorageError) and "://" in error.path and error.operation != "open":
        return " Is the network up, and are the URI and the credentials right?"
    return ""


def at_the_prompt(text: str) -> str:
    """Return an error's text with what it advises as it is typed."""
    for python, typed in _WORDS.items():
        text = text.replace(python, typed)
    return text


def _shortened(text: str) -> str:
    lines = text.splitlines()
    if len(lines) <= _SHOWN_LINES:
        return text
    first, last = lines[: _SHOWN_LINES - 1], lines[-1]
    advice = [] if last.startswith("  - ") else [last]
    return "\n".join([*first, f"  ... and {len(lines) - len(first) - len(advice)} more", *advice])
