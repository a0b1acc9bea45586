"""What Ray Train V2 notes of a run's checkpoints, as plain data; it may hold anything."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from tune_ckpt.sweep.result_log import Pairs

SNAPSHOT = "checkpoint_manager_snapshot.json"


def reported(document: Any) -> Pairs:
    """Return what was reported with each checkpoint that a snapshot names.

    Its iteration is the number of the report, where the metrics tell none.
    """
    if not isinstance(document, dict):
        return {}
    pairs = _named(document.get("latest_checkpoint_result"))
    for result in _list(document, "pending_training_results"):
        pairs |= _named(result)
    indices = _list(document, "checkpoint_report_indices")
    for result, index in zip_longest(_list(document, "checkpoint_results"), indices):
        pairs |= _named(result, index)
    return pairs


def _list(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []


def _named(result: Any, index: Any = None) -> Pairs:
    if not isinstance(result, dict):
        return {}
    name, metrics = result.get("checkpoint_dir_name"), result.get("metrics")
    if not isinstance(name, str) or not isinstance(metrics, dict):
        return {}
    known = {"training_iteration": index + 1} if isinstance(index, int) else {}
    return {name: {**known, **metrics}}
