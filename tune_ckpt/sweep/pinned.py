"""The best checkpoint of a running sweep, pinned: a copy that stays, for other processes to follow.

See `tune_ckpt.sweep.best_file` for what lies there.
"""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import NoCheckpointError
from tune_ckpt.sweep.best_file import FILE, FOLDER, Pinned, read_pinned
from tune_ckpt.sweep.candidates import OpenSweep
from tune_ckpt.sweep.opening import open_sweep
from tune_ckpt.sweep.records import CheckpointRecord


def pinned_checkpoint(experiment: Any, *, filesystem: Any = None) -> CheckpointRecord:
    """Return the best checkpoint so far of a sweep that pins it (``pin_best=True``).

    It is for processes that follow a running sweep, such as a server: they ask again from time to
    time, and load what has another ``path`` than before. One that was returned stays readable until
    two better ones were found.

    Args:
        experiment: The sweep's folder, or a Train run's: a local path or a URI.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the folder is to be looked up.

    Raises:
        NoCheckpointError: None is pinned there, or not yet.
        CorruptDataError: What names it is damaged.
    """
    sweep = open_sweep(experiment, filesystem)
    home, pinned = _home(sweep)
    if pinned is None:
        reason = f"there is no {FOLDER}/{FILE}, which callbacks with pin_best=True write"
        raise NoCheckpointError(sweep.store.location, (reason,))
    return CheckpointRecord(
        path=sweep.path(*home, FOLDER, pinned.folder),
        trial_id=pinned.trial_id,
        iteration=pinned.iteration,
        config=pinned.config,
        metrics=pinned.metrics,
        metric=pinned.metric,
        mode=pinned.mode,
        value=pinned.value,
        values={pinned.metric: pinned.value},
        scope=None,
        score=pinned.value,
        filesystem=sweep.filesystem,
    )


def _home(sweep: OpenSweep) -> tuple[tuple[str, ...], Pinned | None]:
    """Return where below the sweep's folder something is pinned: a Train run has its own."""
    if sweep.only:
        pinned = read_pinned(sweep.store.child(sweep.only).child(FOLDER))
        if pinned is not None:
            return (sweep.only,), pinned
    return (), read_pinned(sweep.store.child(FOLDER))
