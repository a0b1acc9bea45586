"""A sweep, in its folder or in memory, as candidates: checkpoints and the metrics of their moment.

Which metrics belong to a checkpoint is told by its own ``metadata.json`` where this package wrote
it; else by the results in memory, ``result.json`` or a Train run's snapshot; else by Tune's
experiment state. Paths are taken relative to the folder that was given, so a sweep may have been
moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from tune_ckpt.errors import CorruptDataError, InvalidArgumentError, StorageError, listed
from tune_ckpt.formats import pickle
from tune_ckpt.sweep.best_file import FILE, FOLDER, Pinned, read_pinned
from tune_ckpt.sweep.candidate import Candidate
from tune_ckpt.sweep.experiment_state import ExperimentState
from tune_ckpt.sweep.metrics import Metric, names
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.sweep.paths import below, places_of
from tune_ckpt.sweep.result_log import RESULTS, Bound, Metrics, Pairs
from tune_ckpt.sweep.train_snapshot import SNAPSHOT
from tune_ckpt.sweep.trial_folder import CONVERTED, TrialFolder
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tree.storage.store import Store, open_store
from tune_ckpt.tree.tune_metrics import OF_TUNE

_REQUESTS = 16  # at a time, where each takes a while
_LISTED = 12  # metrics, where none was told
_TOLD = 4  # checkpoints of a trial
_LEFT_BEHIND = (
    "; its result.json is not here either: copy it, and the sweep's experiment_state-*.json, from "
    "where the sweep ran (a driver that was killed may have left them under ~/ray_results or "
    "/tmp/ray)"
)
T = TypeVar("T")


@dataclass(frozen=True)
class PinnedCopy:
    """The copy of a trial's checkpoint that is pinned.

    Attributes:
        name: The checkpoint's name in its trial's folder.
        path: Where the copy is, below the sweep's folder.
        pinned: What is known of it.
    """

    name: str
    path: str
    pinned: Pinned

    @property
    def metrics(self) -> Metrics:
        """The checkpoint's own metrics, with its iteration."""
        iteration = self.pinned.iteration
        known = {} if iteration is None else {"training_iteration": iteration}
        return {**known, **self.pinned.metrics}


@dataclass(eq=False)
class OpenSweep:
    """A sweep's folder, and what is known of it in memory; it is read only where it has changed.

    `tune_ckpt.sweep.opening.open_sweep` makes one of whatever means a sweep.

    Attributes:
        store: The folder.
        base: Its path, as records shall give it.
        filesystem: The pyarrow filesystem of ``base``; None for local paths and URIs.
        in_memory: What results in memory say of checkpoints, by trial folder.
        only: The one trial's folder that is meant; None for all.
        goal: What the results' ``TuneConfig`` says is best; a folder does not tell.
        notes: What could not be read or has no metrics.
    """

    store: Store = field(repr=False)
    base: str
    filesystem: Any = None
    in_memory: dict[str, Pairs] = field(default_factory=dict, repr=False)
    only: str | None = None
    goal: Metric | None = None
    notes: Notes = field(default_factory=Notes, repr=False)
    _known: dict[str, TrialFolder] = field(default_factory=dict, repr=False)
    _found: list[TrialFolder] = field(default_factory=list, repr=False)
    _copies: dict[str, PinnedCopy] = field(default_factory=dict, repr=False)  # by trial folder

    def metric(self, name: str | None, mode: str | None) -> Metric:
        """Return what to rank by; what is None is as in the ``TuneConfig``, else the maximum.

        Raises:
            InvalidArgumentError: There is no such mode, or no name.
        """
        told = self.goal
        if name is None and told is not None:
            name = told.name
        if name is None:
            expected = self._reported() or ["the name of a reported metric"]
            raise InvalidArgumentError("metric", name, expected, "no TuneConfig tells what is best")
        if mode is None:
            mode = told.mode if told is not None and told.name == name else "max"
        return Metric(name, mode)

    def _reported(self) -> list[str]:
        """Return the metrics of the first trial that has any, the user's own first."""
        for folder in self.look():
            results = [*folder.pairs().values(), *folder.results()]
            found = {name for result in results for name in names(result)}
            if found:
                return sorted(found, key=lambda name: (name in OF_TUNE, name))[:_LISTED]
        return []

    @property
    def place(self) -> str:
        """The path of what the caller means: the sweep's folder, or the one trial's or run's."""
        return self.path(self.only) if self.only else self.base

    def path(self, *names: str) -> str:
        """Return the path of something below the sweep's folder."""
        return below(self.base, *names)

    def look(self) -> list[TrialFolder]:
        """Return the trials' folders that there are now, by name.

        Those are included that are known in memory but gone from storage.
        """
        self.notes.clear()
        self._state.look()
        names = {self.only: True} if self.only else self.store.names()
        found = {name for name, is_dir in names.items() if is_dir}
        folders = [self._folder(name) for name in sorted(found | self.in_memory.keys())]
        self._each(TrialFolder.look, folders)
        self._found = [f for f in folders if f.is_trial or f.name in self.in_memory]
        homes = [f.name for f in self._found if f.names.get(FOLDER)]  # a Train run has its own
        if self.only or FOLDER in found:
            homes.append("")
        self._copies = {trial: copy for home in homes for trial, copy in self._pinned_in(home)}
        return self._found

    def _pinned_in(self, home: str) -> Iterator[tuple[str, PinnedCopy]]:
        """Yield what is pinned in a folder, with its trial's folder."""
        above = [home] if home else []
        try:
            pinned = read_pinned((self.store.child(home) if home else self.store).child(FOLDER))
        except (StorageError, CorruptDataError) as error:
            self.notes.unreadable(self.path(*above, FOLDER, FILE), error.reason)
            return
        if pinned is not None:
            trial, _, name = "/".join((*above, pinned.checkpoint)).partition("/")
            yield trial, PinnedCopy(name, "/".join((*above, FOLDER, pinned.folder)), pinned)

    def bounds(self, folders: Iterable[TrialFolder], metric: Metric) -> list[Bound]:
        """Return a bound of the metric for each trial, its pinned copy included."""
        return self._each(lambda folder: min(self._bounds(folder, metric)), folders)

    def _bounds(self, folder: TrialFolder, metric: Metric) -> Iterator[Bound]:
        yield folder.bound(metric)
        copy = self._copies.get(folder.name)
        value = None if copy is None else metric.value(copy.metrics, folder.name)
        if value is not None:
            yield metric.cost(value), -1.0, ""

    def configs(self) -> list[dict[str, Any]]:
        """Return the config of each trial that was found, by its folder's name."""
        return self._each(lambda folder: folder.config, self._found)

    def _folder(self, name: str) -> TrialFolder:
        if name not in self._known:
            pairs = self.in_memory.get(name)
            store = self.store.child(name)
            self._known[name] = TrialFolder(name, store, self.notes, self._state, pairs)
        return self._known[name]

    def _each(self, do: Callable[[TrialFolder], T], folders: Iterable[TrialFolder]) -> list[T]:
        if isinstance(self.store, LocalStore):  # threads would only wait for each other
            return [do(folder) for folder in folders]
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(do, folders))

    @cached_property
    def _state(self) -> ExperimentState:
        return ExperimentState(self.store, self.notes)

    def candidates(self, folder: TrialFolder) -> Iterator[Candidate]:
        """Yield the checkpoints of a trial whose metrics are known; note those whose are not."""
        pairs = folder.pairs()
        unknown = sorted(folder.checkpoints - pairs.keys())
        if unknown:
            left = folder.names.keys().isdisjoint({RESULTS, SNAPSHOT}) and _LEFT_BEHIND
            told = f"the metrics of {listed(unknown, _TOLD)} are recorded nowhere{left or ''}"
            self.notes.add(f"trial {folder.trial_id}: {told}")
        for name, metrics in pairs.items():
            yield Candidate(folder, name, metrics)
        copy = self._copies.get(folder.name)
        if copy is not None and not copy.pinned.is_of(pairs.get(copy.name, {})):
            yield Candidate(folder, copy.path, copy.metrics)

    def homes(self, candidate: Candidate) -> list[str]:
        """Return the paths at which a candidate or its pinned copy is; none where it is gone."""
        name, folder = candidate.name, candidate.folder
        copy = self._copies.get(folder.name)
        if copy is not None and name == copy.path:
            return [self.path(copy.path)]
        if "/" in name:
            return [path for path in places_of(self.base, name) if self._may_be_at(path)]
        home = folder.home(name)
        paths = [self.path(folder.name, *home)] if home else []
        if copy is not None and name == copy.name and copy.pinned.is_of(candidate.metrics):
            paths.append(self.path(copy.path))
        return paths

    def _may_be_at(self, path: str) -> bool:
        try:
            return bool(open_store(path, self.filesystem).names())
        except StorageError:
            return True  # why it cannot be read is told where it is looked at

    def needed(self, folder: TrialFolder) -> set[str]:
        """Return the checkpoints, as ``<trial folder>/<name>``, that a trial would go on from."""
        return {"/".join(ends) for ends in self._state.needed(folder.name)}

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
        return candidate.folder.config
