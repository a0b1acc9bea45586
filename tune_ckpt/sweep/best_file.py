"""``<experiment>/best/best.json``: which checkpoint of a sweep is pinned, and where its copy is.

It names the copy's folder beside it and what is known of it, and is replaced in one step. The copy
before stays until the next one, so that whoever has just read its name can still load it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.sweep.as_json import plain
from tune_ckpt.sweep.metrics import Metric, whole
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

    def is_of(self, metrics: Mapping[str, Any]) -> bool:
        """Say whether these metrics were reported with it.

        After a crash Tune writes a checkpoint's name again, maybe with another content.
        """
        value = Metric(self.metric).value(metrics)
        return (whole(metrics.get("training_iteration")), value) == (self.iteration, self.value)

    def to_json(self) -> bytes:
        """Return the file's content."""
        return json.dumps(plain(asdict(self)), indent=2).encode()


def read_pinned(folder: Store) -> Pinned | None:
    """Return what a folder's ``best.json`` says; None where there is none.

    Raises:
        CorruptDataError: It is damaged.
    """
    if not folder.exists(FILE):
        return None
    try:
        told = json.loads(folder.read_bytes(FILE))
        pinned = Pinned(**{name: told[name] for name in _TYPES if name in told})
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptDataError(folder.path(FILE), f"it cannot be read: {error}") from error
    wrong = [name for name, of in _TYPES.items() if not isinstance(getattr(pinned, name), of)]
    if not wrong and (pinned.folder in ("", ".", "..") or "/" in pinned.folder):
        wrong = ["folder"]
    if wrong or not pinned.metric:
        raise CorruptDataError(folder.path(FILE), f"it has no usable {wrong or ['metric']}")
    return pinned


_TYPES: dict[str, Any] = {
    "metric": str,
    "mode": str,
    "value": int | float,
    "trial_id": str,
    "iteration": int | None,
    "checkpoint": str,
    "folder": str,
    "previous": str | None,
    "config": dict,
    "metrics": dict,
}
