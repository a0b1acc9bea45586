"""The mixin that puts a Trainable's checkpoints into a component tree."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from ray import tune

from tune_ckpt.checkpointable import Checkpointable
from tune_ckpt.errors import NotACheckpointError
from tune_ckpt.object_states import StateDict
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.store import open_store

RESTORED_FROM = "restored_from"  # the metadata field with a checkpoint's content digest
RESTORED_FROM_TRIAL = "restored_from_trial"  # ... and what that says of its trial
COUNTERS = "__trainable__"  # the key of the state under which the Trainable's own counters stand
_COUNTERS = ("_iteration", "_time_total", "_timesteps_total", "_episodes_total")


class CheckpointableMixin(Checkpointable):
    """Saves and loads a Trainable's checkpoints as a component tree.

    Name it *before* the Trainable among the bases: both have a ``get_state``. Define ``get_state``
    and ``set_state``, and leave ``save_checkpoint`` and ``load_checkpoint`` alone.

    Attributes:
        checkpoint_format: ``"pickle"``, or ``"msgpack"`` for checkpoints that any Python opens and
            that run no code.
    """

    checkpoint_format: Format = "pickle"
    config: dict[str, Any]
    _lineage: Mapping[str, Any] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Trainable's own get_state knows no components: ours must come first.
        if getattr(cls, "get_state", None) is tune.Trainable.get_state:
            raise TypeError(f"{cls.__name__}: name CheckpointableMixin before the Trainable")

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the Tune config, of which a Trainable is constructed."""
        return (self.config,), {}

    def get_metadata(self) -> dict[str, Any]:
        """Return what is known of the trial, of the metrics that it reported last, and of lineage.

        ``restored_from`` is the content digest of the checkpoint that Tune restored it from last,
        and ``restored_from_trial`` the trial that saved it: another one, where a scheduler such as
        PBT exploits that.
        """
        trial = {
            "id": getattr(self, "trial_id", None),
            "name": getattr(self, "trial_name", None),
            "iteration": getattr(self, "_iteration", None),
        }
        metrics = plain_metrics(getattr(self, "_last_result", None) or {})
        return {**super().get_metadata(), "trial": trial, "metrics": metrics, **self._lineage}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save the tree into the folder that Tune hands us."""
        self.save_to_path(checkpoint_dir, use_msgpack=self.checkpoint_format == "msgpack")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Restore from a folder of this sweep, whose pickles are trusted: we wrote them."""
        self.restore_from_path(checkpoint, allow_pickle=True)
        self._lineage = _lineage_of(checkpoint)

    def _whole_state(self, **which: Any) -> StateDict:
        counters = {name.lstrip("_"): getattr(self, name, None) for name in _COUNTERS}
        return {**self.get_state(**which), COUNTERS: counters}

    def _set_own_state(self, state: StateDict) -> None:
        own = dict(state)
        for name, value in own.pop(COUNTERS, {}).items():
            setattr(self, f"_{name}", value)
        self.set_state(own)


class CheckpointableTrainable(CheckpointableMixin, tune.Trainable):
    """A ``tune.Trainable`` whose checkpoints are component trees.

    Define ``setup``, ``step``, ``get_state`` and ``set_state``; list models and optimizers in
    ``get_checkpointable_components``.
    """


def _lineage_of(checkpoint: str) -> dict[str, Any]:
    try:
        metadata = open_tree(open_store(checkpoint)).metadata
    except NotACheckpointError:  # RLlib's own, which has no digest
        return {}
    return {RESTORED_FROM: metadata.digest, RESTORED_FROM_TRIAL: metadata.extra.get("trial")}


def plain_metrics(value: Any) -> Any:
    """Return of a result what JSON can hold: numbers, text, truth values, and dicts of these."""
    if isinstance(value, dict):
        plain = {str(key): plain_metrics(item) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item is not None}
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | float | str) else None
