"""``tune-ckpt convert``."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from tune_ckpt.cli import output
from tune_ckpt.cli.options import AllowPickle, AsJson, WrongUse, check_there, is_sweep
from tune_ckpt.cli.watching import watched

if TYPE_CHECKING:
    from tune_ckpt.cli.batch import Outcome


# How often a checkpoint's bytes move: read, encoded where that takes as long, written.
_PASSES: dict[object, int] = {"msgpack": 2, "pickle": 3}


class To(str, Enum):
    """The formats."""

    MSGPACK = "msgpack"
    PICKLE = "pickle"


class Dialect(str, Enum):
    """The dialects of msgpack."""

    TYPED = "typed"
    RLLIB = "rllib"


def convert(
    src: Annotated[str, typer.Argument(help="A checkpoint, or a whole sweep: a path or a URI.")],
    dst: Annotated[
        str | None, typer.Argument(help="The new one (*.zip: one file), or a folder for all.")
    ] = None,
    to: Annotated[To, typer.Option(help="The new format.")] = To.MSGPACK,
    dialect: Annotated[
        Dialect | None, typer.Option(help="Of msgpack: ours, or RLlib's. By default as it was.")
    ] = None,
    allow_pickle: AllowPickle = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", help="Of a sweep: how many at a time.", min=1)
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a sweep: the Ray cluster that converts it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint, or all those of a sweep, again: as msgpack or pickle.

    Without DST they are converted in place, which is only for what no running sweep writes, and
    not for RLlib's own.
    """
    if to is To.PICKLE and dialect is Dialect.RLLIB:
        raise WrongUse("--dialect rllib is one of msgpack: give either it or --to pickle")
    check_there(src)
    options: dict[str, object] = {
        "to": to.value,
        "dialect": dialect and dialect.value,
        "allow_pickle": allow_pickle,
    }
    outcomes = _outcomes(src, dst, options, jobs, address)
    if as_json:
        output.say_json([vars(outcome) for outcome in outcomes])
    else:
        _say(outcomes)
    raise typer.Exit(1 if any(outcome.error for outcome in outcomes) else 0)


def _outcomes(
    src: str, dst: str | None, options: dict[str, object], jobs: int | None, address: str | None
) -> list[Outcome]:
    from tune_ckpt.cli import batch
    from tune_ckpt.errors import CorruptDataError, NotACheckpointError

    many = batch.conversions(src, dst, options) if is_sweep(src) else []
    if not many:
        try:
            with watched(f"Converting {src}", [src], passes=_PASSES[options["to"]]):
                return [batch.Conversion(src, dst, options).run_or_raise()]
        except (NotACheckpointError, CorruptDataError):  # a trial's folder may look damaged
            many = batch.conversions(src, dst, options)
            if not many:
                raise
    return batch.run_all(many, jobs=jobs, address=address, progress=output.is_terminal())


_CONFIG = (
    "config= is given in Python: "
    "tune_ckpt.rllib.convert_to_msgpack_checkpoint(SRC, DST, config={...})"
)


def _say(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.dst is not None:
            output.say(outcome.dst)
        for line in outcome.not_carried:
            output.remark(f"not carried: {outcome.src}: {line}")
    if any("config=" in line for outcome in outcomes for line in outcome.not_carried):
        output.remark(_CONFIG)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        error = str(outcome.error)
        output.remark(f"failed: {error if outcome.src in error else f'{outcome.src}: {error}'}")
    if len(outcomes) > 1:
        output.remark(f"{len(outcomes) - len(failed)} of {len(outcomes)} checkpoints converted")
