"""A sweep's ranking, for those who wait for it at a terminal, and how a record is told."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tune_ckpt as tc
from tune_ckpt.cli import output
from tune_ckpt.cli.options import MaxOrMin, Scopes, WrongUse, check_folder
from tune_ckpt.cli.watching import watched

if TYPE_CHECKING:
    from tune_ckpt.sweep.candidates import OpenSweep


def opened(experiment: str) -> OpenSweep:
    """Return the sweep in a folder.

    Raises:
        WrongUse: There is none.
    """
    from tune_ckpt.sweep.opening import open_sweep

    check_folder(experiment)
    return open_sweep(experiment)


def ranked(
    sweep: OpenSweep,
    metric: str,
    mode: str,
    *,
    k: int | None,
    scope: Scopes | None,
    where: Sequence[str] | None,
    verify: bool,
) -> tc.CheckpointTable:
    """Return a sweep's checkpoints from the best down; see `tune_ckpt.rank_checkpoints`.

    Raises:
        WrongUse: ``where`` is not as ``name=value``.
    """
    options: dict[str, Any] = {
        "k": k,
        "scope": scope and scope.value,
        "where": _conditions(where or ()) or None,
    }
    with watched("Reading results"):
        found = tc.rank_checkpoints(sweep, metric, mode, **options, verify=False)
    if verify:
        with watched("Verifying", [record.path for record in found]):
            found = tc.rank_checkpoints(sweep, metric, mode, **options, verify=True)
    return found


def _conditions(typed: Sequence[str]) -> dict[str, Any]:
    conditions: dict[str, Any] = {}
    for one in typed:
        name, equals, value = one.partition("=")
        name = name.strip()
        if not name or not equals:
            raise WrongUse(f"--where {one}: give a name in the config and its value, as lr=0.1")
        if name in conditions:
            raise WrongUse(f"--where {one}: {name} was given before, and can have one value only")
        conditions[name] = _value(value.strip())
    return conditions


def _value(text: str) -> Any:
    """Return what is meant by a value as JSON or Python writes it; whatever is neither is text."""
    readings: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    for read in readings:
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue  # {[]: 1} is a TypeError, and nesting too deep one of the last two
    return text


def end_of(mode: MaxOrMin | None) -> str:
    """Return the mode that was typed, or the one that is taken where none was."""
    return (mode or MaxOrMin.MAX).value


def remark_end(metric: str, mode: MaxOrMin | None) -> None:
    """Tell which end was taken where nobody said: of a loss it is the wrong one."""
    if mode is None:
        output.remark(f"The largest {metric} is taken for the best; --mode min takes the smallest.")


def sentence(record: tc.CheckpointRecord) -> str:
    """Return what is known of a checkpoint beside its path, in a line."""
    where = f"trial {record.trial_id}, iteration {record.iteration}"
    score = f", {record.scope} of the trial {record.score!r}" if record.scope else ""
    return f"{record.metric} {record.value!r}, {where}{score}"
