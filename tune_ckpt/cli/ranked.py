"""A sweep's ranking, for those who wait for it at a terminal, and how a record is told."""

from __future__ import annotations

import tune_ckpt as tc
from tune_ckpt.cli.options import check_folder
from tune_ckpt.cli.watching import watched


def ranked(
    experiment: str, metric: str, mode: str, *, k: int | None, verify: bool
) -> tc.CheckpointTable:
    """Return a sweep's checkpoints from the best down; see `tune_ckpt.rank_checkpoints`."""
    check_folder(experiment)
    sweep = tc.Sweep.open(experiment)
    with watched("Reading results"):
        found = tc.rank_checkpoints(sweep, metric, mode, k=k, verify=False)
    if verify:
        with watched("Verifying", [record.path for record in found]):
            found = tc.rank_checkpoints(sweep, metric, mode, k=k, verify=True)
    return found


def sentence(record: tc.CheckpointRecord) -> str:
    """Return what is known of a checkpoint beside its path, in a line."""
    where = f"trial {record.trial_id}, iteration {record.iteration}"
    return f"{record.metric} {record.value!r}, {where}"
