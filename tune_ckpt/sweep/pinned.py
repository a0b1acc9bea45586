"""The best checkpoint of a running sweep, pinned: a copy that stays, for other processes to follow.

``<experiment>/best/best.json`` names the copy's folder beside it and what is known of it, and is
replaced in one step. The copy before stays until the next one, so that whoever has just read its
name can still load it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from tune_ckpt.errors import CorruptDataError, NoCheckpointError
from tune_ckpt.sweep.candidates import Sweep
from tune_ckpt.sweep.records import CheckpointRecord
from tune_ckpt.tree.storage.folder import Store

FOLDER, FILE = "best", "best.json"


@dataclass(frozen=True)
class Pinned:
    """What ``best.json`` says.

    Attributes:
        metric: What is best: the metric's name.
        mode: ``"max"`` or ``"min"``.
        value: The checkpoint's value of it.
        trial_id: The trial that wrote it.
        iteration: After which iteration.
        checkpoint: Where it came from, within the sweep's folder.
        folder: The copy's name beside the file.
        previous: The name of the copy before it, which is still there.
        config: The trial's config, as far as JSON can hold it.
        metrics: Its own metrics, likewise.
    """

    metric: str
    mode: str
    value: float
    trial_id: str
    iteration: int | None
    checkpoint: str
    folder: str
    previous: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the file's content."""
        return json.dumps(_plain(asdict(self)), indent=2).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def read_pinned(folder: Store) -> Pinned | None:
    """Return what a folder's ``best.json`` says; None where there is none.

    Raises:
        CorruptDataError: It is damaged.
    """
    if not folder.exists(FILE):
        return None
    try:
        told = json.loads(folder.read_bytes(FILE))
        return Pinned(**{f.name: told[f.name] for f in fields(Pinned) if f.name in told})
    except (ValueError, TypeError) as error:
        raise CorruptDataError(folder.path(FILE), f"it cannot be read: {error}") from error


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
    sweep = Sweep.open(experiment, filesystem)
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


def _home(sweep: Sweep) -> tuple[tuple[str, ...], Pinned | None]:
    """Return where below the sweep's folder something is pinned: a Train run has its own."""
    if sweep.only:
        pinned = read_pinned(sweep.store.child(sweep.only).child(FOLDER))
        if pinned is not None:
            return (sweep.only,), pinned
    return (), read_pinned(sweep.store.child(FOLDER))
