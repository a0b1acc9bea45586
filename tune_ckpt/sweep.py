"""A sweep, in its folder or in memory, as candidates: checkpoints and the metrics of their moment.

Which metrics belong to a checkpoint is told by its own ``metadata.json`` where this package wrote
it; else by the results in memory or ``result.json``; else by Tune's experiment state. Paths are
taken relative to the folder that was given, so a sweep may have been moved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

from tune_ckpt import tune_files
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.formats import pickle
from tune_ckpt.metrics import number
from tune_ckpt.tree.store import Store, open_store
from tune_ckpt.tune_files import CONVERTED, Metrics, Notes, Pairs, TrialFolder


@dataclass(frozen=True)
class Candidate:
    """A checkpoint whose metrics are known.

    Attributes:
        folder: Its trial's folder.
        name: Its own folder's name, or the path that was recorded where it lies elsewhere.
        metrics: Those of the result to which it belongs.
    """

    folder: TrialFolder
    name: str
    metrics: Metrics

    @property
    def trial_id(self) -> str:
        """The id of the trial that reported the metrics."""
        recorded = self.metrics.get("trial_id")
        # RLlib's results say "default".
        usable = isinstance(recorded, str) and recorded != "default"
        return str(recorded) if usable else self.folder.trial_id

    @property
    def iteration(self) -> int | None:
        """After which iteration, where that is recorded."""
        recorded = number(self.metrics.get("training_iteration"))
        return None if recorded is None else int(recorded)

    def __str__(self) -> str:
        return f"trial {self.trial_id}, iteration {self.iteration} ({self.name})"


@dataclass
class Sweep:
    """A sweep's folder, and what is known of it in memory.

    Attributes:
        store: The folder.
        base: Its path, as records shall give it.
        filesystem: The pyarrow filesystem of ``base``; None for local paths and URIs.
        in_memory: What a ``ResultGrid`` says of checkpoints, by trial folder.
        notes: What could not be read or has no metrics.
    """

    store: Store
    base: str
    filesystem: Any = None
    in_memory: dict[str, Pairs] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    @classmethod
    def open(cls, source: Any, filesystem: Any = None) -> Sweep:
        """Return the sweep that ``source`` means.

        Raises:
            InvalidArgumentError: It means none.
        """
        # A ResultGrid, known without importing Ray.
        if hasattr(source, "experiment_path") and hasattr(source, "filesystem"):
            sweep = cls.open(source.experiment_path, source.filesystem)
            sweep.in_memory = _in_memory(source)
            return sweep
        if not isinstance(source, str | os.PathLike):
            expected = ("a ResultGrid", "a sweep's folder as a path or URI")
            raise InvalidArgumentError("source", source, expected)
        store = open_store(source, filesystem)
        base = os.fspath(source) if store.filesystem else store.location
        return cls(store, base, store.filesystem if filesystem else None)

    def path(self, *names: str) -> str:
        """Return the path of something below the sweep's folder."""
        return _below(self.base, *names)

    @cached_property
    def folders(self) -> list[TrialFolder]:
        """The trials' folders, those included that are known in memory but gone from storage."""
        found = tune_files.trial_folders(self.store)
        gone = self.in_memory.keys() - {folder.name for folder in found}
        return [*found, *(TrialFolder(name, self.store.child(name)) for name in sorted(gone))]

    @cached_property
    def _state(self) -> dict[str, Pairs]:
        return tune_files.state_pairs(self.store, self.notes)

    def candidates(self) -> Iterator[Candidate]:
        """Yield every checkpoint whose metrics are known, and note those whose are not."""
        for folder in self.folders:
            pairs = self._pairs(folder)
            for name in sorted(folder.checkpoints - pairs.keys()):
                line = f"trial {folder.trial_id}: the metrics of {name} are recorded nowhere"
                self.notes.lines.append(line)
            for name, metrics in pairs.items():
                yield Candidate(folder, name, metrics)

    def _pairs(self, folder: TrialFolder) -> Pairs:
        own = tune_files.own_pairs(folder, self.notes)
        pairs = tune_files.reported_pairs(folder, self.notes)
        pairs |= self.in_memory.get(folder.name, {})
        if folder.checkpoints - pairs.keys() - own.keys():  # only then: it may be large
            pairs = self._state.get(folder.name, {}) | pairs
        return pairs | {name: _joined(own[name], pairs.get(name, {})) for name in own}

    def homes(self, candidate: Candidate) -> list[str]:
        """Return the paths at which a candidate may be; none where it is gone."""
        name = candidate.name
        if "/" not in name:
            home = candidate.folder.home(name)
            return [self.path(candidate.folder.name, *home)] if home else []
        return _moved(self.base, name)

    def converted(self, candidate: Candidate) -> str | None:
        """Return the path of a candidate's conversion beside it, where there is one."""
        folder = candidate.folder
        if candidate.name not in folder.converted:
            return None
        return self.path(folder.name, CONVERTED, candidate.name)

    def config(self, candidate: Candidate) -> dict[str, Any]:
        """Return the trial's config at that moment; a scheduler may have changed it since."""
        own = candidate.metrics.get("config")
        if isinstance(own, dict) and own and not pickle.holds_opaque(own):
            return own
        return tune_files.config(candidate.folder, self.notes)

    def reported(self) -> Iterator[Metrics]:
        """Yield every result of every trial, those without a checkpoint too."""
        for folder in self.folders:
            yield from tune_files.results(folder, self.notes)


def _below(base: str, *names: str) -> str:
    if "://" not in base:
        return "/".join((base.rstrip("/"), *names))
    head, mark, options = base.partition("?")
    return "/".join((head.rstrip("/"), *map(_quoted, names))) + mark + options


def _quoted(path: str) -> str:
    return quote(path, safe="/=,:@+")


def _moved(experiment: str, recorded: str) -> list[str]:
    # A whole path was recorded: look within the sweep's folder, beside it, and where it was.
    is_uri = "://" in experiment
    head, mark, options = experiment.partition("?") if is_uri else (experiment, "", "")
    scheme = head.partition("://")[0]
    parent, _, name = head.rstrip("/").rpartition("/")
    within = recorded.partition(f"/{unquote(name) if is_uri else name}/")[2]
    beside = "/".join(recorded.rstrip("/").split("/")[-2:])
    there = f"{scheme}://{_quoted(recorded)}" if is_uri else recorded
    paths = [_below(experiment, within)] if within else []
    return [*paths, _below(parent + mark + options, beside), there + mark + options]


def _in_memory(results: Any) -> dict[str, Pairs]:
    by_trial: dict[str, Pairs] = {}
    for result in results:
        if result.path is None:  # a trial that never started
            continue
        trial = _last(result.path)
        pairs = by_trial.setdefault(trial, {})
        for checkpoint, metrics in result.best_checkpoints or ():
            if _last(checkpoint.path, 2) == trial:  # not one that it took over from another trial
                pairs[_last(checkpoint.path)] = metrics
    return by_trial


def _last(path: str, place: int = 1) -> str:
    return ["", *path.rstrip("/").split("/")][-place]


def _joined(own: Metrics, other: Metrics) -> Metrics:
    # Ours are cut down to what JSON can hold; what else was reported at that moment is as good.
    same = own.get("training_iteration") == other.get("training_iteration")
    return {**other, **own} if same else own
