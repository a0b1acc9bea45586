"""The mixin that puts a Trainable's checkpoints into a component tree."""

from __future__ import annotations

from typing import Any

import numpy as np
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from tune_ckpt.checkpointable import Checkpointable
from tune_ckpt.components import StateDict
from tune_ckpt.tree.layout import Format
from tune_ckpt.tune.sigterm import end, notice

COUNTERS = "__trainable__"  # the key of the state under which the Trainable's own counters stand
_COUNTERS = ("_iteration", "_time_total", "_timesteps_total", "_episodes_total")


class CheckpointableMixin(Checkpointable):
    """Saves and loads a Trainable's checkpoints as a component tree.

    Name it *before* the Trainable among the bases: both have a ``get_state``. Define ``get_state``
    and ``set_state``, and leave ``save_checkpoint`` and ``load_checkpoint`` alone.

    Attributes:
        checkpoint_format: ``"pickle"``, or ``"msgpack"`` for checkpoints that any Python opens and
            that run no code.
        just_in_time: Whether to save after the iteration in which the trial's process gets SIGTERM,
            whatever the checkpoint frequency. Then the trial ends, and goes on from there if
            ``FailureConfig(max_failures=...)`` allows. Best effort: the iteration and the save must
            end before the process is killed for good.
    """

    checkpoint_format: Format = "pickle"
    just_in_time: bool = False
    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Trainable's own get_state knows no components: ours must come first.
        if getattr(cls, "get_state", None) is tune.Trainable.get_state:
            raise TypeError(f"{cls.__name__}: name CheckpointableMixin before the Trainable")

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the Tune config, of which a Trainable is constructed."""
        return (self.config,), {}

    def get_metadata(self) -> dict[str, Any]:
        """Return what is known of the trial and of the metrics that it reported last."""
        trial = {
            "id": getattr(self, "trial_id", None),
            "name": getattr(self, "trial_name", None),
            "iteration": getattr(self, "_iteration", None),
        }
        metrics = plain_metrics(getattr(self, "_last_result", None) or {})
        return {**super().get_metadata(), "trial": trial, "metrics": metrics}

    def train(self) -> dict[str, Any]:
        """Do an iteration; Tune calls it."""
        if not self.just_in_time:
            return self._iterate()
        if notice.came.is_set() and self._has_saved:
            end()
        notice.listen()
        result = self._iterate()
        if notice.came.is_set():
            self._has_saved = False
            result[SHOULD_CHECKPOINT] = True
        return result

    _has_saved = False

    def _iterate(self) -> dict[str, Any]:
        result: dict[str, Any] = super().train()  # type: ignore[misc]
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save the tree into the folder that Tune hands us."""
        self.save_to_path(checkpoint_dir, use_msgpack=self.checkpoint_format == "msgpack")
        self._has_saved = True

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Restore from a folder of this sweep, whose pickles are trusted: we wrote them."""
        self.restore_from_path(checkpoint, allow_pickle=True)

    def _whole_state(self) -> StateDict:
        counters = {name.lstrip("_"): getattr(self, name, None) for name in _COUNTERS}
        return {**self.get_state(), COUNTERS: counters}

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


def plain_metrics(value: Any) -> Any:
    """Return of a result what JSON can hold: numbers, text, truth values, and dicts of these."""
    if isinstance(value, dict):
        plain = {str(key): plain_metrics(item) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item is not None}
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | float | str) else None
