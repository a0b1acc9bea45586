"""Tune's ``experiment_state-*.json``: which checkpoint has which metrics, by trial folder.

Of a class Trainable that stands nowhere else: in a pickle, as hexadecimal text, in JSON, in JSON.
Only the trials that are asked for are unpickled, inertly. A file of hundreds of megabytes is not
parsed either: a trial's entry is found by its folder's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

from tune_ckpt.errors import StorageError, TuneCkptError
from tune_ckpt.formats import pickle
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.sweep.result_log import Metrics, Pairs
from tune_ckpt.tree.storage.store import Store

PREFIX = "experiment_state-"
PARSED_NBYTES = 2**25  # parsing takes several times as much memory
_CHUNK_NBYTES = 2**24
_NAME_NBYTES = 2**12  # more than a folder's name takes, however it is escaped

_BROKEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError, TuneCkptError)


class ExperimentState:
    """The newest experiment state that can be read.

    Args:
        experiment: The sweep's folder.
        notes: Gets what cannot be read.
    """

    def __init__(self, experiment: Store, notes: Notes) -> None:
        self._experiment = experiment
        self._notes = notes
        self._problems = Notes()  # of what is known now
        self._may_be_old = True
        self._version: object = None  # of the newest file, whether it can be read or not
        self._entries: dict[str, Callable[[], Any]] = {}
        self._loose: dict[str, Pairs] = {}

    def look(self) -> None:
        """Look for a newer file before anything is asked next: the sweep may be running."""
        self._may_be_old = True

    def pairs(self, folder: str) -> Pairs:
        """Return what it says of the checkpoints in one trial's folder."""
        recorded = self._recorded_of(folder)
        # One that exploits another trial names that one's checkpoint as its latest.
        own = {checkpoint: metrics for owner, checkpoint, metrics in recorded if owner == folder}
        return self._loose.get(folder, {}) | own

    def needed(self, folder: str) -> set[tuple[str, str]]:
        """Return what a trial would go on from: checkpoints by their trial's folder and name.

        That is the newest one that was noted of its own, and whatever it took over from others.
        """
        ends = {(owner, checkpoint) for owner, checkpoint, _ in self._recorded_of(folder)}
        own = max((end for end in ends if end[0] == folder), default=None)
        return {end for end in ends if end[0] != folder or end == own}

    def _recorded_of(self, folder: str) -> list[tuple[str, str, Metrics]]:
        self._load()
        recorded = self._recorded(self._entries[folder]) if folder in self._entries else []
        for line in self._problems.lines:
            self._notes.add(line)
        return recorded

    def _load(self) -> None:
        """Read the newest file that can be read, unless there is none that is new."""
        if not self._may_be_old:
            return
        self._may_be_old = False
        names = [name for name in self._experiment.names() if name.startswith(PREFIX)]
        newest = self._experiment.stat(max(names)) if names else None
        if newest is None or newest == self._version:
            return
        self._version = newest
        self._problems.clear()
        for name in sorted(names, reverse=True):
            if self._can_read(name):
                return

    def _can_read(self, name: str) -> bool:
        self._entries, self._loose, self._file = {}, {}, name
        try:
            read = self._index if self._size() > PARSED_NBYTES else self._parse
            read()
        except (StorageError, *_BROKEN) as error:
            reason = error.reason if isinstance(error, StorageError) else error
            self._problems.unreadable(self._experiment.path(name), reason)
            return False
        return True

    # ----------------------------------------------------------------------------- small files

    def _parse(self) -> None:
        state = json.loads(self._experiment.read_bytes(self._file))
        for entry in state.get("trial_data") or state.get("checkpoints") or ():
            try:
                trial = _trial(entry)
                blob = _blob(trial)
                if "relative_logdir" in trial:
                    self._entries[trial["relative_logdir"]] = partial(bytes, blob)
                    continue
            except _BROKEN as error:
                self._problems.unreadable(self._experiment.path(self._file), error)
                continue
            for owner, checkpoint, metrics in self._recorded(partial(bytes, blob)):
                self._loose.setdefault(owner, {})[checkpoint] = metrics

    def _recorded(self, blob: Callable[[], bytes]) -> list[tuple[str, str, Metrics]]:
        file = self._experiment.path(self._file)
        try:
            tree = pickle.loads_inert(blob(), file=file)
            return [(*_ends(path), metrics) for path, metrics in _results(tree)]
        except (StorageError, *_BROKEN) as error:  # it may even contain itself
            self._problems.unreadable(file, error)
            return []

    # ----------------------------------------------------------------------------- large files

    def _index(self) -> None:
        places = list(self._places())
        ends = [0, *(place for place, _ in places), self._size()]
        for (before, place), (_, after), (_, name) in zip(
            pairwise(ends[:-1]), pairwise(ends[1:]), places, strict=True
        ):
            self._entries[name] = partial(self._blob_around, before, place, after)

    def _size(self) -> int:
        with self._experiment.open(self._file) as source:
            return int(source.nbytes)

    def _places(self) -> Iterator[tuple[int, str]]:
        """Yield where each trial's folder is named, and its name."""
        start, size = 0, self._size()
        while start < size:
            data = self._range(start, min(size, start + _CHUNK_NBYTES + _NAME_NBYTES))
            for found in _FOLDER.finditer(data):
                if found.start() < _CHUNK_NBYTES:
                    yield start + found.start(), _unescaped(found[1])
            start += _CHUNK_NBYTES

    def _range(self, start: int, end: int) -> bytearray:
        buffer = bytearray(end - start)
        with self._experiment.open(self._file) as source:
            source.read_into(start, memoryview(buffer))
        return buffer

    def _blob_around(self, before: int, place: int, after: int) -> bytes:
        data = self._range(before, after)
        *_, start = (found.start() for found in _ENTRY.finditer(data, 0, place - before))
        text = data[start:].decode(errors="replace")
        first, end = json.JSONDecoder().raw_decode(text)
        trial = json.loads(first)
        if "checkpoint_manager" not in trial:  # since Ray 2.7 two JSON texts, before that one
            following = text[end:].lstrip(", \n")
            trial = json.loads(json.JSONDecoder().raw_decode(following)[0])
        return _blob(trial)


_FOLDER = re.compile(rb'relative_logdir\\":\s*\\"(.*?)\\"')
_ENTRY = re.compile(rb'(?<!\\)"\{')  # quotes within a text are escaped


def _unescaped(name: bytes) -> str:
    once = json.loads(b'"' + bytes(name) + b'"')
    return str(json.loads(f'"{once}"'))


def _trial(entry: Any) -> dict[str, Any]:
    # Since Ray 2.7 two JSON texts, before that one.
    merged: dict[str, Any] = {}
    for part in [entry] if isinstance(entry, str) else entry:
        merged |= json.loads(part)
    return merged


def _blob(trial: dict[str, Any]) -> bytes:
    manager = trial["checkpoint_manager"]
    return bytes.fromhex(manager["value"] if isinstance(manager, dict) else manager)


def _results(value: Any) -> Iterator[tuple[str, Metrics]]:
    # A checkpoint manager holds records of a checkpoint and its metrics, in lists and attributes.
    if isinstance(value, list | tuple):
        for item in value:
            yield from _results(item)
    elif isinstance(value, pickle.Opaque) and isinstance(value.state, dict):
        path = _path(value.state)
        metrics = value.state.get("metrics")
        if path is not None and isinstance(metrics, dict):
            yield path, metrics
        else:
            yield from _results(list(value.state.values()))


def _ends(path: str) -> tuple[str, str]:
    trial, checkpoint = ["", *path.rstrip("/").split("/")][-2:]
    return trial, checkpoint


def _path(state: dict[str, Any]) -> str | None:
    checkpoint = state.get("checkpoint", state.get("dir_or_data"))  # since Ray 2.7; before
    if isinstance(checkpoint, pickle.Opaque) and isinstance(checkpoint.state, dict):
        checkpoint = checkpoint.state.get("path")
    return checkpoint if isinstance(checkpoint, str) else None
