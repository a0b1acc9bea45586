"""What a sweep's folder tells of its trials as plain data; nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tune_ckpt.errors import StorageError
from tune_ckpt.sweep.result_log import RESULTS, each_saved_with, saved_with
from tune_ckpt.sweep.trial_folder import PARAMETERS, trial_id_in
from tune_ckpt.tree.layout import FileNames
from tune_ckpt.tree.storage.store import Store
from tune_ckpt.tune.resuming.aside import ASIDE

_CHECKPOINT = "checkpoint_"

Metrics = dict[str, Any]


@dataclass(frozen=True)
class PastTrial:
    """One trial's folder.

    Attributes:
        name: Its name.
        store: The folder.
    """

    name: str
    store: Store

    @property
    def trial_id(self) -> str:
        """The trial's id as its folder's name tells it; where it does not, that name."""
        return trial_id_in(self.name) or self.name

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The config as ``params.json`` or the last result has it; None where neither does."""
        last = self.results[-1] if self.results else {}
        found = (_json(self.store, PARAMETERS), last.get("config"))
        return next((config for config in found if isinstance(config, dict)), None)

    @cached_property
    def results(self) -> list[Metrics]:
        """The results in order, those left out whose line is broken.

        Raises:
            StorageError: They are there, but cannot be read: nobody knows how far the trial was.
        """
        try:
            lines = self.store.read_bytes(RESULTS).splitlines()
        except StorageError:
            entry = self.store.stat(RESULTS)
            if entry is not None and not entry.is_dir:
                raise
            return []
        found = (_parsed(line) for line in lines)
        return [result for result in found if isinstance(result, dict)]

    @cached_property
    def by_iteration(self) -> dict[int, Metrics]:
        """The results by iteration; where one was reported again, the last word."""
        numbered = ((result.get("training_iteration"), result) for result in self.results)
        return {number: result for number, result in numbered if isinstance(number, int)}

    def checkpoints(self) -> list[str]:
        """Return the names of the checkpoint folders, the newest first."""
        return sorted((n for n in _folders(self.store) if n.startswith(_CHECKPOINT)), reverse=True)

    def metrics_of(
        self, checkpoint: str, recorded: Mapping[str, Any] | None = None
    ) -> Metrics | None:
        """Return the metrics of a checkpoint's moment, with its iteration; None where none has it.

        Args:
            checkpoint: Its name.
            recorded: What is recorded of it elsewhere; it counts where neither it nor its
                trial tells.
        """
        named = [result for result in self.results if saved_with(result) == checkpoint]
        presumed = each_saved_with(self.results).get(checkpoint)
        for known in (self._own_metrics(checkpoint), *named[::-1], recorded, presumed):
            iteration = known.get("training_iteration") if known else None
            if known and isinstance(iteration, int):
                return {**known, **self.by_iteration.get(iteration, {})}
        return None

    def _own_metrics(self, checkpoint: str) -> Metrics | None:
        own = _json(self.store.child(checkpoint), FileNames.metadata)
        trial = own.get("trial") if isinstance(own, dict) else None
        if not isinstance(trial, dict):
            return None
        metrics = own.get("metrics")
        reported = metrics if isinstance(metrics, dict) else {}
        return {"training_iteration": trial.get("iteration"), **reported}

    def python(self) -> str | None:
        """Return the version of the Python that wrote its newest checkpoint, where that tells."""
        for name in self.checkpoints()[:1]:
            own = _json(self.store.child(name), FileNames.metadata)
            facts = own.get("tune_ckpt") if isinstance(own, dict) else None
            return facts.get("python_version") if isinstance(facts, dict) else None
        return None

    def highest_index(self) -> int:
        """Return the highest number that a checkpoint of this trial has or had; -1 for none."""
        aside = _folders(self.store.child(ASIDE))
        named = [r.get("checkpoint_dir_name") for r in self.results]
        names = [*self.checkpoints(), *aside, *(n for n in named if isinstance(n, str))]
        numbers = [name.removeprefix(_CHECKPOINT).partition(".")[0] for name in names]
        return max((int(number) for number in numbers if number.isdigit()), default=-1)


def past_trials(experiment: Store) -> Iterator[PastTrial]:
    """Yield the trials' folders of a sweep, by name."""
    for name in _folders(experiment):
        store = experiment.child(name)
        if is_trial({entry.name for entry in store.list()}):
            yield PastTrial(name, store)


def is_trial(names: Iterable[str]) -> bool:
    """Say whether a folder in which there are such names is a trial's."""
    return any(n in (PARAMETERS, RESULTS) or n.startswith(_CHECKPOINT) for n in names)


def _folders(store: Store) -> list[str]:
    return [entry.name for entry in store.list() if entry.is_dir]


def _json(store: Store, name: str) -> Any:
    try:
        return _parsed(store.read_bytes(name))
    except StorageError:
        return None


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
