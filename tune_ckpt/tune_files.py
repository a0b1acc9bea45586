"""What Tune leaves in a sweep's folder, read as plain data: nothing in it is unpickled for real.

::

    <experiment>/
      experiment_state-<time>.json   one a session; holds, as hexadecimal pickles, which checkpoint
                                     has which metrics: a class Trainable's stand nowhere else
      <trial>/
        params.json                  the trial's config
        result.json                  one result a line; a function's names its checkpoint
        checkpoint_000000/ ...
        msgpack/checkpoint_000000/   ours: conversions

A sweep may be running, killed or copied half. What cannot be read is left out and noted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import StorageError, TuneCkptError
from tune_ckpt.formats import pickle
from tune_ckpt.tree.store import Store

RESULTS, PARAMETERS, METADATA = "result.json", "params.json", "metadata.json"
CONVERTED = "msgpack"

Metrics = Mapping[str, Any]
Pairs = dict[str, Metrics]  # a checkpoint's name (or recorded path) -> the metrics of its moment

_TRIAL_ID = re.compile(r"_([0-9a-f]{5,8}(?:_\d{5})?)_")


@dataclass(frozen=True)
class TrialFolder:
    """One trial's folder.

    Attributes:
        name: Its name.
        store: The folder.
        checkpoints: The names of the checkpoint folders in it.
        converted: Those in its folder of conversions.
        has_results: Whether it has a ``result.json``.
    """

    name: str
    store: Store
    checkpoints: frozenset[str] = frozenset()
    converted: frozenset[str] = frozenset()
    has_results: bool = False

    @property
    def trial_id(self) -> str:
        """The trial's id as its folder's name tells it; where it does not, that name."""
        found = _TRIAL_ID.search(self.name)
        return found[1] if found else self.name

    def home(self, checkpoint: str) -> tuple[str, ...] | None:
        """Return where a checkpoint is below the folder; its conversion stands in for one gone."""
        if checkpoint in self.checkpoints:
            return (checkpoint,)
        return (CONVERTED, checkpoint) if checkpoint in self.converted else None


@dataclass
class Notes:
    """What could not be read, one line each."""

    lines: list[str] = field(default_factory=list)

    def add(self, store: Store, name: str, problem: object) -> None:
        """Note a problem with a file."""
        self.lines.append(f"{store.path(name)} cannot be read: {problem}")


def trial_folders(experiment: Store) -> list[TrialFolder]:
    """Return the trials' folders in a sweep's folder, by name."""
    found = (_trial_folder(experiment, entry.name) for entry in experiment.list() if entry.is_dir)
    return [folder for folder in found if folder is not None]


def _trial_folder(experiment: Store, name: str) -> TrialFolder | None:
    store = experiment.child(name)
    entries = store.list()
    names = {entry.name for entry in entries}
    checkpoints = frozenset(
        entry.name for entry in entries if entry.is_dir and entry.name.startswith("checkpoint_")
    )
    if not checkpoints and not names & {RESULTS, PARAMETERS}:
        return None
    converted = store.child(CONVERTED).list() if CONVERTED in names else []
    copies = frozenset(entry.name for entry in converted if entry.is_dir)
    return TrialFolder(name, store, checkpoints, copies, RESULTS in names)


def config(folder: TrialFolder, notes: Notes) -> dict[str, Any]:
    """Return a trial's config as ``params.json`` has it: plain values, and text for the rest."""
    found = _json(folder.store, PARAMETERS, notes) if folder.store.exists(PARAMETERS) else None
    return found if isinstance(found, dict) else {}


def results(folder: TrialFolder, notes: Notes, *mentioning: bytes) -> Iterator[dict[str, Any]]:
    """Yield a trial's results in order.

    Args:
        folder: The trial.
        notes: Gets the lines that cannot be read.
        mentioning: Only results whose line holds one of these, to save parsing the rest.
    """
    if not folder.has_results:
        return
    for line in folder.store.read_bytes(RESULTS).splitlines():
        if line and (not mentioning or any(word in line for word in mentioning)):
            result = _parsed(line, folder.store, RESULTS, notes)
            if isinstance(result, dict):
                yield result


def reported_pairs(folder: TrialFolder, notes: Notes) -> Pairs:
    """Return what a trial's results say of checkpoints; where one was written again, the last word.

    A function names the folder of its checkpoint, ``checkpoint_dir_name``; a Train run inside a
    trial gives a path, ``checkpoint_path``.
    """
    pairs: Pairs = {}
    for result in results(folder, notes, b'"checkpoint_dir_name"', b'"checkpoint_path"'):
        where = result.get("checkpoint_dir_name") or result.get("checkpoint_path")
        if isinstance(where, str):
            pairs[where] = result
    return pairs


def own_pairs(folder: TrialFolder, notes: Notes) -> Pairs:
    """Return the metrics that this package wrote into checkpoints, where it did."""
    homes = [(folder.store, name) for name in folder.checkpoints]
    copies = folder.store.child(CONVERTED)
    homes += [(copies, name) for name in folder.converted - folder.checkpoints]
    found = {name: _own_metrics(store.child(name), notes) for store, name in homes}
    return {name: metrics for name, metrics in found.items() if metrics}


def _own_metrics(checkpoint: Store, notes: Notes) -> Metrics | None:
    document = _json(checkpoint, METADATA, notes) if checkpoint.exists(METADATA) else None
    if not isinstance(document, dict) or not isinstance(document.get("metrics"), dict):
        return None
    trial = document.get("trial")
    trial = trial if isinstance(trial, dict) else {}
    facts = {"training_iteration": trial.get("iteration"), "trial_id": trial.get("id")}
    known = {key: value for key, value in facts.items() if value is not None}
    return {**known, **document["metrics"]} if document["metrics"] else None


def state_pairs(experiment: Store, notes: Notes) -> dict[str, Pairs]:
    """Return what the newest readable experiment state says of checkpoints, by trial folder."""
    names = [entry.name for entry in experiment.list()]
    for name in sorted((n for n in names if n.startswith("experiment_state-")), reverse=True):
        state = _json(experiment, name, notes)
        if isinstance(state, dict):
            return _pairs_by_trial(state, experiment, name, notes)
    return {}


def _pairs_by_trial(state: Any, experiment: Store, name: str, notes: Notes) -> dict[str, Pairs]:
    by_trial: dict[str, Pairs] = {}
    for entry in state.get("trial_data") or state.get("checkpoints") or ():
        try:
            trial = _trial(entry)
            tree = pickle.loads_inert(_blob(trial), file=experiment.path(name))
        except (ValueError, TypeError, LookupError, TuneCkptError) as error:
            notes.add(experiment, name, error)
            continue
        for path, metrics in _recorded(tree):
            folder, checkpoint = ["", *path.rstrip("/").split("/")][-2:]
            # One that exploits another trial names that one's checkpoint as its latest.
            if trial.get("relative_logdir", folder) == folder:
                by_trial.setdefault(folder, {})[checkpoint] = metrics
    return by_trial


def _trial(entry: Any) -> dict[str, Any]:
    # Since Ray 2.7 two JSON texts, before that one.
    merged: dict[str, Any] = {}
    for part in [entry] if isinstance(entry, str) else entry:
        merged |= json.loads(part)
    return merged


def _blob(trial: dict[str, Any]) -> bytes:
    manager = trial["checkpoint_manager"]
    return bytes.fromhex(manager["value"] if isinstance(manager, dict) else manager)


def _recorded(value: Any) -> Iterator[tuple[str, Metrics]]:
    # A checkpoint manager holds records of a checkpoint and its metrics, in lists and attributes.
    if isinstance(value, list | tuple):
        for item in value:
            yield from _recorded(item)
    elif isinstance(value, pickle.Opaque) and isinstance(value.state, dict):
        path = _path(value.state)
        metrics = value.state.get("metrics")
        if path is not None and isinstance(metrics, dict):
            yield path, metrics
        else:
            yield from _recorded(list(value.state.values()))


def _path(state: dict[str, Any]) -> str | None:
    checkpoint = state.get("checkpoint", state.get("dir_or_data"))  # since Ray 2.7; before
    if isinstance(checkpoint, pickle.Opaque) and isinstance(checkpoint.state, dict):
        checkpoint = checkpoint.state.get("path")
    return checkpoint if isinstance(checkpoint, str) else None


def _json(store: Store, name: str, notes: Notes) -> Any:
    try:
        data = store.read_bytes(name)
    except StorageError as error:  # deleted since it was listed, or not there at all
        notes.add(store, name, error.reason)
        return None
    return _parsed(data, store, name, notes)


def _parsed(data: bytes, store: Store, name: str, notes: Notes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        notes.add(store, name, error)
        return None
