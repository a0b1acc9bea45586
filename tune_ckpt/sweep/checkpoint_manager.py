"""What Tune notes of one trial in its experiment state: its checkpoints, and how far it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.sweep.metrics import number
from tune_ckpt.sweep.result_log import Metrics, Moment

Recorded = tuple[str, str, Metrics]  # a trial's folder, a checkpoint of it, and its metrics

UNTOLD: Moment = (math.inf, math.inf)


def reached(trial: Mapping[str, Any]) -> Moment:
    """Return the moment of the last result that Tune knew; the end of time where it is not told."""
    last = trial.get("last_result", trial.get("_last_result"))  # since Ray 2.7; before
    iteration = number(last.get("training_iteration")) if isinstance(last, dict) else None
    if iteration is None:
        return UNTOLD
    timestamp = number(last.get("timestamp"))
    return (-1.0 if timestamp is None else timestamp, iteration)


def reached_in(text: bytes | bytearray, start: int = 0, end: int | None = None) -> Moment:
    """Return the same, or a later moment, of an entry as it stands in the file, without parsing.

    Args:
        text: A part of the file.
        start: Where the entry begins in it, or later.
        end: Where the entry ends in it, or earlier; None for the part's end.
    """
    end = len(text) if end is None else end
    last = _LAST.search(text, start, end)
    if last is None:
        return UNTOLD
    timestamps, iterations = (
        each.findall(text, last.end(), end) for each in (_TIMESTAMP, _ITERATION)
    )
    if not iterations:
        return UNTOLD
    return max(map(float, timestamps), default=-1.0), max(map(float, iterations))


_LAST = re.compile(rb'\\"_?last_result\\":\s*\{')
_TIMESTAMP = re.compile(rb'\\"timestamp\\":\s*(\d+)')
_ITERATION = re.compile(rb'\\"training_iteration\\":\s*(\d+)')


def recorded(manager: Any) -> list[Recorded]:
    """Return the checkpoints that a trial's checkpoint manager, read inertly, knows."""
    return [(*_ends(path), metrics) for path, metrics in _results(manager)]


def _results(value: Any) -> Iterator[tuple[str, Metrics]]:
    # A checkpoint manager holds records of a checkpoint and its metrics, in lists and attributes.
    if isinstance(value, list | tuple):
        for item in value:
            yield from _results(item)
    elif isinstance(value, Opaque) and isinstance(value.state, dict):
        path = _path(value.state)
        metrics = value.state.get("metrics")
        if path is not None and isinstance(metrics, dict):
            yield path, metrics
        else:
            yield from _results(list(value.state.values()))


def _ends(path: str) -> tuple[str, str]:
    trial, checkpoint = ["", *path.rstrip("/").split("/")][-2:]
    return trial, checkpoint


def _path(state: dict[str, Any]) -> str | None:
    checkpoint = state.get("checkpoint", state.get("dir_or_data"))  # since Ray 2.7; before
    if isinstance(checkpoint, Opaque) and isinstance(checkpoint.state, dict):
        checkpoint = checkpoint.state.get("path")
    return checkpoint if isinstance(checkpoint, str) else None
