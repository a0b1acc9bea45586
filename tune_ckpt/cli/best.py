"""``tune-ckpt best``."""

from __future__ import annotations

from typing import Annotated

import typer

import tune_ckpt as tc
from tune_ckpt.cli import output
from tune_ckpt.cli.options import AllowPickle, AsJson, Experiment, Metric, Mode, Scope, Where
from tune_ckpt.cli.ranked import end_of, opened, ranked, remark_end, sentence
from tune_ckpt.cli.watching import watched


def best(
    experiment: Experiment,
    metric: Metric,
    mode: Mode = None,
    scope: Scope = None,
    where: Where = None,
    export: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Export it to this path, verified, as msgpack, *.zip as one file; "
            "others' own files as they are.",
        ),
    ] = None,
    allow_pickle: AllowPickle = False,
    as_json: AsJson = False,
) -> None:
    """Print the path of a sweep's best checkpoint; what else is known of it goes to stderr."""
    end = end_of(mode)
    record = ranked(opened(experiment), metric, end, k=1, scope=scope, where=where, verify=True)[0]
    exported = None if export is None else _exported(record, export, allow_pickle)
    not_carried = [*map(str, getattr(exported, "not_carried", ()))]
    if as_json:
        output.say_json({**_facts(record), "exported": exported, "not_carried": not_carried})
        return
    output.say(record.path)
    output.remark(sentence(record))
    remark_end(metric, mode)
    if record.runner_up:
        output.remark(f"runner-up: {sentence(record.runner_up)}, {record.runner_up.path}")
    output.remark_each("better, but gone", record.better_but_gone())
    output.remark_each("passed over", record.passed_over)
    if exported:
        output.remark(f"exported to {exported}")
    output.remark_each("not carried", not_carried)


def _exported(record: tc.CheckpointRecord, to: str, allow_pickle: bool) -> str:
    with watched("Exporting", [record.path], passes=2):
        return record.export(to, allow_pickle=allow_pickle)


def _facts(record: tc.CheckpointRecord) -> dict[str, object]:
    runner_up = record.runner_up
    return {
        "path": record.path,
        "metric": record.metric,
        "mode": record.mode,
        "value": record.value,
        "scope": record.scope,
        "score": record.score,
        "trial_id": record.trial_id,
        "iteration": record.iteration,
        "config": record.config,
        "metrics": record.metrics,
        "converted": record.converted,
        "runner_up": runner_up
        and {"path": runner_up.path, "value": runner_up.value, "trial_id": runner_up.trial_id},
        "better_but_gone": record.better_but_gone(),
        "passed_over": record.passed_over,
    }
