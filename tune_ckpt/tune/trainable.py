"""The mixins that put a Trainable's checkpoints into a component tree."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from tune_ckpt.checkpointable import Checkpointable
from tune_ckpt.errors import UnsupportedComponentError
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.object_states import StateDict
from tune_ckpt.objects.parts import read_parts
from tune_ckpt.objects.restoring import give_parts
from tune_ckpt.objects.saving import component_of
from tune_ckpt.objects.wishes import Wishes
from tune_ckpt.sweep.as_json import plain_metrics
from tune_ckpt.tree.layout import FORMATS, Format
from tune_ckpt.tree.metadata import RESTORED_FROM, RESTORED_FROM_TRIAL, Metadata
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tree.writing import save_tree
from tune_ckpt.tune import private
from tune_ckpt.tune.sigterm import end, notice

_log = logging.getLogger(__name__)
COUNTERS = "__trainable__"  # the key of the state under which the Trainable's own counters stand


class _InTrial:
    """What Tune asks of a Trainable whose checkpoints are component trees."""

    checkpoint_format: Format = "pickle"
    just_in_time: bool = False
    _has_saved = False
    _place: tuple[str, Any] | None = None  # where the checkpoint goes that is being saved
    _lineage: Mapping[str, Any] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        format: Any = cls.checkpoint_format
        if format not in [*FORMATS] and not hasattr(format, "__get__"):  # a property tells later
            known = " or ".join(map(repr, FORMATS))
            raise TypeError(f"{cls.__name__}: checkpoint_format must be {known}, not {format!r}")
        replaced = _replaced(cls)
        if replaced:
            _log.warning(
                "%s has its own %s. Where these do not call super(), its checkpoints are not "
                "tune_ckpt's: they are not verified, nor can they be msgpack. Define get_state() "
                "and set_state() instead.",
                *(cls.__name__, " and ".join(replaced)),
            )

    def get_metadata(self) -> dict[str, Any]:
        """Return what is known of the trial, of the metrics that it reported last, and of lineage.

        ``restored_from`` is the content digest of the checkpoint that Tune restored it from last,
        and ``restored_from_trial`` the trial that saved it: another one, where a scheduler such as
        PBT exploits that.
        """
        told: dict[str, Any] = super().get_metadata()  # type: ignore[misc]  # the other base's
        trial = {
            "id": getattr(self, "trial_id", None),
            "name": getattr(self, "trial_name", None),
            "iteration": private.counters(self)["iteration"],
        }
        metrics = plain_metrics(private.last_metrics(self))
        return {**told, "trial": trial, "metrics": metrics, **self._lineage}

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

    def _iterate(self) -> dict[str, Any]:
        result: dict[str, Any] = super().train()  # type: ignore[misc]  # the other base's
        return result

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save a checkpoint and return what Tune wants to know of it; Tune calls it.

        Tune would have it written to a temporary folder and copied. Within a trial it is written to
        where it stays at once, whole or not at all.
        """
        self._place = None if checkpoint_dir else private.next_checkpoint_of(self)
        try:
            return super().save(checkpoint_dir)  # type: ignore[misc]  # the other base's
        finally:
            self._place = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save the tree to where Tune keeps the next checkpoint, or else into a folder."""
        path, filesystem = self._place or (checkpoint_dir, None)
        save_tree(component_of(self), path, self.checkpoint_format, filesystem=filesystem)
        self._has_saved = True

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Restore from a folder of this sweep, whose pickles are trusted: we wrote them.

        Where that fails Tune gives the trial up, so its former state is not kept for that.
        """
        wishes = Wishes.of(allow_pickle=True)
        parts = read_parts(open_store(checkpoint), self, wishes)
        give_parts(self, parts, wishes, is_new=True)
        self._lineage = _lineage_of(parts.metadata)


def _replaced(cls: type[_InTrial]) -> list[str]:
    """Return which of our methods a class replaces, and none of its bases has replaced before."""
    bases = [base for base in cls.__bases__ if issubclass(base, _InTrial)]
    return [
        name
        for name in ("save_checkpoint", "load_checkpoint")
        if all(getattr(base, name) is not getattr(cls, name) for base in bases)
    ]


class CheckpointableMixin(_InTrial, Checkpointable):
    """Saves and loads a Trainable's checkpoints as a component tree.

    Name it *before* the Trainable among the bases: both have a ``get_state``. Define ``get_state``
    and ``set_state``, and leave ``save_checkpoint`` and ``load_checkpoint`` alone. An Algorithm of
    RLlib's has all of these already: for it there is the `AlgorithmMixin`.

    Attributes:
        checkpoint_format: ``"pickle"``, or ``"msgpack"`` for checkpoints that any Python opens and
            that run no code.
        just_in_time: Whether to save after the iteration in which the trial's process gets SIGTERM,
            whatever the checkpoint frequency. Then the trial ends, and goes on from there if
            ``FailureConfig(max_failures=...)`` allows. Best effort: the iteration and the save must
            end before the process is killed for good.
    """

    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Trainable's own get_state knows no components: ours must come first.
        if getattr(cls, "get_state", None) is tune.Trainable.get_state:
            raise TypeError(f"{cls.__name__}: name CheckpointableMixin before the Trainable")
        if any(kind.__module__ == "ray.rllib.utils.checkpoints" for kind in cls.__mro__):
            raise TypeError(f"{cls.__name__}: for RLlib's Algorithms, use AlgorithmMixin")

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the Tune config, of which a Trainable is constructed."""
        return (self.config,), {}

    def _whole_state(self) -> StateDict:
        state: Any = self.get_state()
        if not isinstance(state, Mapping):
            given = "None" if state is None else f"a {type(state).__name__}"
            reason = f"their get_state() returned {given}; it must return a dict"
            raise UnsupportedComponentError(name_of_class(type(self)), reason)
        return {**state, COUNTERS: private.counters(self)}

    def _set_own_state(self, state: StateDict) -> None:
        own = dict(state)
        private.set_counters(self, own.pop(COUNTERS, {}))
        self.set_state(own)


class CheckpointableTrainable(CheckpointableMixin, tune.Trainable):
    """A ``tune.Trainable`` whose checkpoints are component trees.

    Define ``setup``, ``step``, ``get_state`` and ``set_state``; list models and optimizers in
    ``get_checkpointable_components``.
    """


class AlgorithmMixin(_InTrial):
    """Saves and loads the checkpoints of an Algorithm of RLlib's, within Tune, as our trees.

    They are whole, verified, and on request msgpack without any pickle:
    ``class PortablePPO(tc.AlgorithmMixin, PPO): checkpoint_format = "msgpack"``. Name it before
    the Algorithm. Its attributes are those of `CheckpointableMixin`.
    """


def _lineage_of(metadata: Metadata | None) -> dict[str, Any]:
    if metadata is None:  # RLlib's own, which has no digest
        return {}
    return {RESTORED_FROM: metadata.digest, RESTORED_FROM_TRIAL: metadata.extra.get("trial")}
