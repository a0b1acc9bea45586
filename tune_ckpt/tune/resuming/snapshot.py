"""A scheduler's whole state as bytes, for a sweep that may be moved before it is read.

Trials and checkpoints stand in it by id and by their path below the sweep's folder.
"""

from __future__ import annotations

import io
import pickle
import random
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import numpy as np
from ray.tune import Checkpoint
from ray.tune.schedulers import TrialScheduler

from tune_ckpt.errors import listed
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune import private

_LISTED = 5


@dataclass
class Snapshot:
    """What is kept of a scheduler, and what it needs to go on as if nothing had happened.

    Attributes:
        cls: The scheduler's class, as ``module:QualName``.
        state: Its attributes.
        seen: The last iteration of each trial that it was told of, and its decision.
        statuses: The trials' statuses, in their order.
        generators: The states of Python's and NumPy's global random generators; None to leave them.
    """

    cls: str
    state: dict[str, Any]
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    generators: tuple[Any, Any] | None = None

    @classmethod
    def of(cls, scheduler: TrialScheduler, trials: list[Any]) -> Snapshot:
        """Return a snapshot; it refers to the scheduler's own objects until it is packed."""
        statuses = {trial.trial_id: trial.status for trial in trials}
        generators = random.getstate(), np.random.get_state()
        return cls(class_name(scheduler), vars(scheduler), {}, statuses, generators)

    def pack(self, experiment: str) -> bytes:
        """Return it as bytes.

        Args:
            experiment: The sweep's folder, relative to which checkpoints are noted.
        """
        facts, buffer = {**vars(self)}, io.BytesIO()
        state = facts.pop("state")
        pickle.dump(facts, buffer)  # apart: the pickler below asks us of every single value
        _Pickler(buffer, experiment).dump(state)
        return buffer.getvalue()

    @staticmethod
    def unfit(data: bytes, scheduler: Any, trials: list[Any]) -> str:
        """Say of whom else something is that was packed; nothing where it is of these.

        Args:
            data: What was packed.
            scheduler: The scheduler that it should be of.
            trials: The trials that it should be of.
        """
        facts = pickle.loads(data)  # those come first
        if facts["cls"] != class_name(scheduler):
            return f"of a {facts['cls']}"
        known, there = set(facts["statuses"]), {trial.trial_id for trial in trials}
        lacking, strange = sorted(there - known), sorted(known - there)
        told = {"it lacks ": lacking, "it knows ": strange}
        differing = [f"{what}{listed(ids, _LISTED)}" for what, ids in told.items() if ids]
        return f"of other trials: {' and '.join(differing)}" if differing else ""

    @classmethod
    def unpack(cls, data: bytes, trials: list[Any], experiment: str, filesystem: Any) -> Snapshot:
        """Return what was packed, with these trials in it; runs what the pickle names.

        In the place of a checkpoint that is gone there is None: a scheduler passes such over.
        """
        buffer = io.BytesIO(data)
        facts = pickle.load(buffer)
        return cls(state=_Unpickler(buffer, trials, experiment, filesystem).load(), **facts)


def class_name(scheduler: Any) -> str:
    """Return a scheduler's class as ``module:QualName``."""
    return f"{type(scheduler).__module__}:{type(scheduler).__qualname__}"


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it ships no types
    def __init__(self, file: Any, experiment: str) -> None:
        super().__init__(file)
        self._experiment = experiment

    def persistent_id(self, value: Any) -> Any:
        """Return what stands for a trial, a checkpoint, or one that is still being saved."""
        if private.is_future(value):
            value = private.resolved(value)
            if value is None:  # not saved yet: then it cannot be gone on from either
                return "nothing", None
        if isinstance(value, Checkpoint):
            return "checkpoint", value.path.removeprefix(f"{self._experiment}/")
        return ("trial", value.trial_id) if private.is_trial(value) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, trials: list[Any], experiment: str, filesystem: Any) -> None:
        super().__init__(file)
        self._trials = {trial.trial_id: trial for trial in trials}
        self._experiment = experiment
        self._filesystem = filesystem

    def persistent_load(self, reference: Any) -> Any:
        """Return what that stands for here."""
        kind, name = reference
        if kind == "trial":
            return self._trials[name]
        if kind == "nothing":
            return None
        path = name if name.startswith("/") else f"{self._experiment}/{name}"
        is_there = open_store(path, private.local_or(self._filesystem)).list()
        return Checkpoint(path, self._filesystem) if is_there else None
