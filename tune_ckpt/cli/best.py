"""``tune-ckpt best``."""

from __future__ import annotations

from typing import Annotated

import typer

from tune_ckpt.experiment import best_checkpoint


def best(
    experiment: Annotated[str, typer.Argument(help="The sweep's folder: a path or a URI.")],
    metric: Annotated[str, typer.Option(help="The metric, a/b for nested ones.")],
    mode: Annotated[str, typer.Option(help="max or min.")] = "max",
    output: Annotated[str | None, typer.Option("-o", help="Export it there, as msgpack.")] = None,
) -> None:
    """Print the path of a sweep's best checkpoint, and what is known of it."""
    record = best_checkpoint(experiment, metric, mode)
    print(record.path)
    print(f"{metric} {record.value!r}, trial {record.trial_id}, iteration {record.iteration}")
    if output:
        record.export(output)
        print(f"exported to {output}")
