"""``tune-ckpt resume``."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune_ckpt.cli import cluster, interrupts, output
from tune_ckpt.cli.options import AsJson, Experiment, MaxOrMin, WrongUse, check_folder
from tune_ckpt.cli.ranked import sentence
from tune_ckpt.cli.typed_names import load

if TYPE_CHECKING:
    from tune_ckpt.sweep.records import CheckpointRecord
    from tune_ckpt.tune.resume import ResumedTuner

_Trainable = Annotated[
    str,
    typer.Argument(
        help="What the sweep ran, as module:Name; the module is imported.", metavar="MODULE:NAME"
    ),
]
_Portable = Annotated[
    bool,
    typer.Option("--portable", help="Do without the sweep's own pickles; no new trials are made."),
]
_Extend = Annotated[
    list[str] | None,
    typer.Option(help="Where trials stop now, as training_iteration=50; repeatable."),
]
_ResumeErrored = Annotated[
    bool, typer.Option("--resume-errored", help="Go on with failed trials too.")
]
_Concurrent = Annotated[
    int | None,
    typer.Option(
        help="How many trials the searcher may have under way; those going on do not wait for it.",
        min=1,
    ),
]
_Metric = Annotated[
    str | None, typer.Option(help="The metric that tells the best; by default the sweep's own.")
]
_Mode = Annotated[
    MaxOrMin | None,
    typer.Option(help="Whether more or less is better; by default as the sweep says, else max."),
]
_Address = Annotated[str | None, typer.Option(help="The Ray cluster to run it on.")]


def resume(
    experiment: Experiment,
    trainable: _Trainable,
    portable: _Portable = False,
    extend: _Extend = None,
    resume_errored: _ResumeErrored = False,
    max_concurrent: _Concurrent = None,
    metric: _Metric = None,
    mode: _Mode = None,
    address: _Address = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep from every trial's newest valid checkpoint, and print the best one's path.

    The sweep's own pickles are loaded, as Tune does, unless --portable is given: only for sweeps
    that you trust. After Ctrl-C the same command goes on, from the checkpoints there are.
    """
    check_folder(experiment)
    cluster.check_installed("tune-ckpt resume")
    options: dict[str, Any] = {
        "extend": dict(map(_limit, extend or ())) or None,
        "resume_errored": resume_errored,
        "max_concurrent": max_concurrent,
        "portable": portable,
    }
    code = load(trainable)
    if metric is not None:
        _check_metric(experiment, metric, mode)
    from tune_ckpt.tune import private

    tuner, results, interrupted = _run(experiment, code, options, address)
    statuses = private.statuses(results)
    best = _best(results, metric or private.tune_config(tuner).metric, mode)
    if as_json:
        output.say_json(_answer(experiment, tuner.report, statuses, best, interrupted))
    else:
        if best:
            output.say(_address(experiment, best))
            output.remark(f"best: {sentence(best)}")
        _say(statuses, interrupted=interrupted, retried=resume_errored)
    failed = 1 if "ERROR" in statuses.values() else 0
    raise typer.Exit(interrupts.EXIT_CODE if interrupted else failed)


def _limit(typed: str) -> tuple[str, float]:
    name, _, value = typed.rpartition("=")
    with contextlib.suppress(ValueError):
        if name.strip():
            return name.strip(), float(value)
    raise WrongUse(f"--extend {typed}: give a metric and a number, as training_iteration=50")


def _check_metric(experiment: str, metric: str, mode: MaxOrMin | None) -> None:
    """Refuse a metric that no result has, before the sweep runs for hours."""
    import tune_ckpt as tc
    from tune_ckpt.errors import NoCheckpointError

    with contextlib.suppress(NoCheckpointError):  # there will be some
        tc.best_checkpoint(experiment, metric, mode and mode.value, verify=False)


def _run(
    experiment: str, trainable: Any, options: dict[str, Any], address: str | None
) -> tuple[ResumedTuner, Any, bool]:
    """Go on with the sweep; return its Tuner, its results, and whether Ctrl-C ended it."""
    from tune_ckpt.tune import private
    from tune_ckpt.tune.resume import resume as tuner_of
    from tune_ckpt.tune.resuming.place import Place

    Place.of(experiment, None)  # who names another folder need not wait for Ray
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints its tables there
        cluster.connect(address, log_to_driver=True)
        tuner = tuner_of(experiment, trainable, **options)
        return tuner, *private.fit(tuner)


def _best(results: Any, metric: str | None, mode: MaxOrMin | None) -> CheckpointRecord | None:
    import tune_ckpt as tc
    from tune_ckpt.errors import NoCheckpointError, UnknownMetricError

    if metric is None:
        return None
    try:
        return tc.best_checkpoint(results, metric, mode and mode.value)
    except (NoCheckpointError, UnknownMetricError) as error:  # the sweep is resumed all the same
        output.remark(f"no best checkpoint: {error}")
        return None


# ------------------------------------------------------------------------------- what is printed


def _address(experiment: str, best: CheckpointRecord) -> str:
    """Return what opens it: its path within a filesystem would mean another place to a command."""
    if best.filesystem is None:
        return best.path
    from tune_ckpt.sweep.paths import below, last_of

    return below(experiment, last_of(best.path, 2), last_of(best.path))


def _say(statuses: dict[str, str], *, interrupted: bool, retried: bool) -> None:
    counts, count = Counter(statuses.values()), len(statuses)
    if interrupted:
        output.remark("The same command goes on with it.")
    else:
        ended = f"{counts['TERMINATED']} of {count} trials have finished"
        again = "; --resume-errored goes on with them" if counts["ERROR"] and not retried else ""
        output.remark(f"{ended}, {counts['ERROR']} failed{again}")


def _answer(
    experiment: str,
    report: Any,
    statuses: dict[str, str],
    best: CheckpointRecord | None,
    interrupted: bool,
) -> dict[str, Any]:
    return {
        "experiment": experiment,
        "resumed": [asdict(trial) for trial in report.trials],
        "set_aside": [str(fault) for fault in report.set_aside],
        "notes": report.notes,
        "interrupted": interrupted,
        "statuses": statuses,
        "best": best
        and {
            "path": _address(experiment, best),
            "metric": best.metric,
            "value": best.value,
            "trial_id": best.trial_id,
            "iteration": best.iteration,
        },
    }
