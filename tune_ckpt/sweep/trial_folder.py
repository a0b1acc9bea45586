"""One trial's folder, or that of a Train run, as plain data: nothing in it is unpickled.

::

    <trial>/
      params.json                        the trial's config
      result.json                        one result a line; a function's names its checkpoint
      checkpoint_manager_snapshot.json   of a Train run (V2): its checkpoints and their metrics
      checkpoint_000000/ ...             a Train run's are named by the time
      msgpack/checkpoint_000000/         ours: conversions

A sweep may be running, killed or copied half. What cannot be read is left out and noted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from tune_ckpt.errors import StorageError
from tune_ckpt.sweep.experiment_state import ExperimentState
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.sweep.result_log import (
    NOTHING,
    RESULTS,
    UNKNOWN,
    Bound,
    End,
    Metrics,
    Pairs,
    ResultLog,
    bound_of,
    each_saved_with,
)
from tune_ckpt.sweep.train_snapshot import SNAPSHOT, reported
from tune_ckpt.tree.layout import FileNames
from tune_ckpt.tree.storage.folder import Entry, Store

PARAMETERS = "params.json"
CONVERTED = "msgpack"  # the folder of conversions

_ITERATION = re.compile(rb'"iteration":\s*(-?\d+)')
_TRIAL_ID = re.compile(r"_([0-9a-f]{5,8}_\d{5}(?=_|$)|[0-9a-f]{5,8}(?=_))")


class TrialFolder:
    """One trial's folder.

    Args:
        name: Its name.
        store: The folder.
        notes: Gets what cannot be read.
        state: Tune's experiment state, which may know of its checkpoints; None outside of a sweep.
        in_memory: What results in memory say of them.

    Attributes:
        names: What is in the folder, and of each whether it is a folder.
        checkpoints: The names of the checkpoint folders in it.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        notes: Notes,
        state: ExperimentState | None = None,
        in_memory: Pairs | None = None,
    ) -> None:
        self.name = name
        self.store = store
        self.names: dict[str, bool] = {}
        self._log = ResultLog(store, self.trial_id, notes)
        self._notes = notes
        self._state = state
        self._in_memory = in_memory or {}
        self.checkpoints: frozenset[str] = frozenset()
        self._converted: frozenset[str] | None = None
        self._own: dict[str, tuple[Entry, Metrics | None]] = {}  # by path, with its file
        self._config: dict[str, Any] | None = None

    def look(self) -> None:
        """Find what is in the folder now; nothing where it cannot be read."""
        self.names = self._listed(self.store)
        self.checkpoints = _checkpoints(self.names)
        self._converted = None

    def _listed(self, store: Store) -> dict[str, bool]:
        try:
            return store.names()
        except StorageError as error:
            self._notes.unreadable(store.location, error.reason)
            return {}

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial's or Train run's folder at all."""
        return bool(self.checkpoints) or not self.names.keys().isdisjoint(
            {RESULTS, PARAMETERS, SNAPSHOT}
        )

    @property
    def trial_id(self) -> str:
        """The trial's id as its folder's name tells it; where it does not, that name."""
        return trial_id_in(self.name) or self.name

    @property
    def converted(self) -> frozenset[str]:
        """The names of those in its folder of conversions."""
        if self._converted is None:
            there = self.names.get(CONVERTED, False)
            names = self._listed(self.store.child(CONVERTED)) if there else {}
            self._converted = _checkpoints(names)
        return self._converted

    @property
    def config(self) -> dict[str, Any]:
        """The config as ``params.json`` has it: plain values, and text for the rest."""
        if self._config is None and PARAMETERS in self.names:
            found = self._json(self.store, PARAMETERS)
            self._config = found if isinstance(found, dict) else None
        return self._config or {}  # of a running sweep the file may come later

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield every result in order; a Train run has none."""
        if RESULTS in self.names:
            yield from self._log.results()

    def values(self, metric: Metric) -> list[float]:
        """Return the metric's values in all results in order, those that are numbers."""
        return self._log.values(metric) if RESULTS in self.names else []

    @property
    def reached(self) -> float:
        """The iteration of the last result; before all others where there is none."""
        return self._log.end().moment[1] if RESULTS in self.names else -math.inf

    def home(self, checkpoint: str) -> tuple[str, ...] | None:
        """Return where a checkpoint is below the folder; its conversion stands in for one gone."""
        if checkpoint in self.checkpoints:
            return (checkpoint,)
        return (CONVERTED, checkpoint) if checkpoint in self.converted else None

    def bound(self, metric: Metric) -> Bound:
        """Return a bound of the metric of all its checkpoints, found without parsing results."""
        if RESULTS not in self.names:
            return UNKNOWN
        values = [metric.value(metrics, self.name) for metrics in self._in_memory.values()]
        bounds = [(metric.cost(value), -1.0, "") for value in values if value is not None]
        logged, end = self._log.bound(metric)
        return min([logged, *bounds, *self._bounds_beyond(end, metric)])

    def _bounds_beyond(self, end: End, metric: Metric) -> Iterator[Bound]:
        """Yield bounds of the checkpoints that are newer than the results.

        Tune logs a result after its checkpoint was written, and stores the log now and then: of a
        killed or running trial they may be known by their own metadata, or the state, only.
        """
        for name in sorted(self.checkpoints, reverse=True):
            try:
                data = self.store.child(name).read_bytes(FileNames.metadata)
            except StorageError:  # most often it has none
                if name > end.checkpoint and self._state is not None:
                    yield UNKNOWN if self._state.is_beyond(self.name, end.moment) else NOTHING
                return
            cost, _, _ = bound_of(data.replace(b"\n", b" ").strip(), metric, "")
            yield (cost, -1.0, "")
            if max(map(float, _ITERATION.findall(data)), default=math.inf) <= end.moment[1]:
                return

    def pairs(self) -> Pairs:
        """Return the metrics of its checkpoints: their own where they hold them."""
        own = self._own_pairs()
        pairs = self._log.pairs() if RESULTS in self.names else {}
        if SNAPSHOT in self.names:
            pairs = pairs | reported(self._json(self.store, SNAPSHOT))
        pairs = pairs | self._in_memory
        unknown = self.checkpoints - pairs.keys() - own.keys()
        if unknown and self._state is not None:  # only then: it may be large
            pairs = self._state.pairs(self.name) | pairs
            unknown -= pairs.keys()
        if unknown:
            pairs = each_saved_with(self.results()) | pairs
        return pairs | {name: _joined(own[name], pairs.get(name, {})) for name in own}

    def _own_pairs(self) -> Pairs:
        """Return the metrics that this package wrote into checkpoints, where it did."""
        homes = [(self.store, name) for name in self.checkpoints]
        copies = self.store.child(CONVERTED)
        homes += [(copies, name) for name in self.converted - self.checkpoints]
        found = {name: self._own_metrics(store.child(name)) for store, name in homes}
        return {name: metrics for name, metrics in found.items() if metrics}

    def _own_metrics(self, checkpoint: Store) -> Metrics | None:
        try:
            file = checkpoint.stat(FileNames.metadata)
        except StorageError as error:
            self._notes.unreadable(checkpoint.location, error.reason)
            return None
        if file is None:
            return None
        seen, metrics = self._own.get(checkpoint.location, (None, None))
        if seen != file:
            document = self._json(checkpoint, FileNames.metadata)
            metrics = _noted_in(document)
            if document is not None and file.mtime is not None:  # else nothing tells a new one
                self._own[checkpoint.location] = file, metrics
        return metrics

    def _json(self, store: Store, name: str) -> Any:
        try:
            return json.loads(store.read_bytes(name))
        except StorageError as error:  # deleted since it was listed, or not there at all
            self._notes.unreadable(store.path(name), error.reason)
        except (ValueError, RecursionError) as error:
            self._notes.unreadable(store.path(name), error)
        return None


def trial_id_in(name: str) -> str | None:
    """Return the trial's id in the name that Tune gives a trial's folder; None in another name."""
    found = _TRIAL_ID.search(name)
    return found[1] if found else None


def _checkpoints(names: dict[str, bool]) -> frozenset[str]:
    return frozenset(n for n, is_dir in names.items() if is_dir and n.startswith("checkpoint_"))


def _joined(own: Metrics, other: Metrics) -> Metrics:
    # Ours are cut down to what JSON can hold; what else was reported at that moment is as good.
    same = own.get("training_iteration") == other.get("training_iteration")
    return {**other, **own} if same else own


def _noted_in(document: Any) -> Metrics | None:
    """Return the metrics in a checkpoint's own metadata, with its iteration and trial."""
    if not isinstance(document, dict) or not isinstance(document.get("metrics"), dict):
        return None
    trial = document.get("trial")
    trial = trial if isinstance(trial, dict) else {}
    facts = {"training_iteration": trial.get("iteration"), "trial_id": trial.get("id")}
    known = {key: value for key, value in facts.items() if value is not None}
    return {**known, **document["metrics"]} if document["metrics"] else None
