"""``tune-ckpt best``."""

from __future__ import annotations

from typing import Annotated

import typer

import tune_ckpt as tc
from tune_ckpt.cli import output
from tune_ckpt.cli.options import AllowPickle, AsJson, Experiment, Metric, Mode, Modes
from tune_ckpt.cli.ranked import ranked
from tune_ckpt.cli.watching import watched


def best(
    experiment: Experiment,
    metric: Metric,
    mode: Modes = Mode.MAX,
    export: Annotated[
        str | None, typer.Option("-o", "--output", help="Export it there, as msgpack.")
    ] = None,
    allow_pickle: AllowPickle = False,
    as_json: AsJson = False,
) -> None:
    """Print the path of a sweep's best checkpoint; what else is known of it goes to stderr."""
    record = ranked(experiment, metric, mode.value, k=1, verify=True)[0]
    exported = _exported(record, export, allow_pickle) if export else None
    if as_json:
        output.say_json({**_facts(record), "exported": exported})
        return
    output.say(record.path)
    output.remark(_sentence(record))
    if record.runner_up:
        output.remark(f"runner-up: {_sentence(record.runner_up)}, {record.runner_up.path}")
    output.remark_each("passed over", record.passed_over)
    if exported:
        output.remark(f"exported to {exported}")
    output.remark_each("not carried", [*map(str, getattr(exported, "not_carried", ()))])


def _exported(record: tc.CheckpointRecord, to: str, allow_pickle: bool) -> str:
    with watched("Exporting", [record.path], passes=2):
        return record.export(to, allow_pickle=allow_pickle)


def _sentence(record: tc.CheckpointRecord) -> str:
    where = f"trial {record.trial_id}, iteration {record.iteration}"
    return f"{record.metric} {record.value!r}, {where}"


def _facts(record: tc.CheckpointRecord) -> dict[str, object]:
    runner_up = record.runner_up
    return {
        "path": record.path,
        "metric": record.metric,
        "mode": record.mode,
        "value": record.value,
        "trial_id": record.trial_id,
        "iteration": record.iteration,
        "config": record.config,
        "metrics": record.metrics,
        "converted": record.converted,
        "runner_up": runner_up
        and {"path": runner_up.path, "value": runner_up.value, "trial_id": runner_up.trial_id},
        "passed_over": record.passed_over,
    }
