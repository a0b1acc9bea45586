"""Tune's ``experiment_state-*.json``: which checkpoint has which metrics, by trial folder.

Of a class Trainable that stands nowhere else: in a pickle, as hexadecimal text, in JSON, in JSON.
Only the trials that are asked for are unpickled, inertly. A file of hundreds of megabytes is not
parsed either: a trial's entry is found by its folder's name.

Every session of a sweep writes a file of its own, which names all trials. Where sweeps share a
folder, those of the earlier ones stand in older files only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise, zip_longest
from threading import Lock
from typing import Any

from tune_ckpt.errors import StorageError, TuneCkptError
from tune_ckpt.formats import pickle
from tune_ckpt.sweep.checkpoint_manager import UNTOLD, Recorded, reached, reached_in, recorded
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.sweep.result_log import Moment, Pairs
from tune_ckpt.tree.storage.store import Store

PREFIX = "experiment_state-"
PARSED_NBYTES = 2**25  # parsing takes several times as much memory
_CHUNK_NBYTES = 2**24
_NAME_NBYTES = 2**12  # more than a folder's name takes, however it is escaped

_BROKEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError, TuneCkptError)


@dataclass
class _Entry:
    """A trial's entry in one of the files: what reads it, or only how far the trial had come."""

    file: str
    read: Callable[[], dict[str, Any]]
    look: Callable[[], Moment]

    @cached_property
    def reached(self) -> Moment:
        """The moment of the trial's last result."""
        try:
            return self.look()
        except (StorageError, *_BROKEN):
            return UNTOLD


class ExperimentState:
    """The newest experiment state that can be read; of trials that it does not know, older ones.

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
        self._unread: list[str] = []  # the files' names, the newest last
        self._entries: dict[str, _Entry] = {}
        self._reading = Lock()
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

    def taken_over(self, folder: str) -> Pairs:
        """Return the other trial's checkpoint that a trial would go on from, by both their names.

        That is where it exploits that trial and has saved nothing since; else there is none.
        """
        recorded = self._recorded_of(folder)
        return {f"{owner}/{name}": metrics for owner, name, metrics in recorded if owner != folder}

    def needed(self, folder: str) -> set[tuple[str, str]]:
        """Return what a trial would go on from: checkpoints by their trial's folder and name.

        That is the newest one that was noted of its own, and whatever it took over from others.
        """
        ends = {(owner, checkpoint) for owner, checkpoint, _ in self._recorded_of(folder)}
        own = max((end for end in ends if end[0] == folder), default=None)
        return {end for end in ends if end[0] != folder or end == own}

    def is_beyond(self, folder: str, moment: Moment) -> bool:
        """Say whether it may know of a trial's checkpoints that are of a later moment."""
        self._find(folder)
        if folder not in self._entries:
            return folder in self._loose
        return self._entries[folder].reached > moment

    def _recorded_of(self, folder: str) -> list[Recorded]:
        self._find(folder)
        found = []
        if folder in self._entries:
            found = self._recorded(self._entries[folder])
        for line in self._problems.lines:
            self._notes.add(line)
        return found

    def _find(self, folder: str) -> None:
        """Read files, from the newest on, until one tells of a trial."""
        with self._reading:
            self._look_anew()
            while self._unread and folder not in self._entries and folder not in self._loose:
                self._read(self._unread.pop())

    def _look_anew(self) -> None:
        """Find the files, unless there is none that is new."""
        if not self._may_be_old:
            return
        self._may_be_old = False
        names = [name for name in self._experiment.names() if name.startswith(PREFIX)]
        newest = self._experiment.stat(max(names)) if names else None
        if newest is None or newest == self._version:
            return
        self._version = newest
        self._problems.clear()
        self._entries, self._loose, self._unread = {}, {}, sorted(names)

    def _read(self, file: str) -> None:
        try:
            read = self._index if self._size(file) > PARSED_NBYTES else self._parse
            read(file)
        except (StorageError, *_BROKEN) as error:
            reason = error.reason if isinstance(error, StorageError) else error
            self._problems.unreadable(self._experiment.path(file), reason)

    # ----------------------------------------------------------------------------- small files

    def _parse(self, file: str) -> None:
        state, loose = json.loads(self._experiment.read_bytes(file)), dict[str, Pairs]()
        for entry in state.get("trial_data") or state.get("checkpoints") or ():
            try:
                trial = _trial(entry)
                known = _Entry(file, partial(dict, trial), partial(reached, trial))
                if "relative_logdir" in trial:
                    self._entries.setdefault(trial["relative_logdir"], known)
                    continue
            except _BROKEN as error:
                self._problems.unreadable(self._experiment.path(file), error)
                continue
            for owner, checkpoint, metrics in self._recorded(known):
                loose.setdefault(owner, {})[checkpoint] = metrics
        self._loose = loose | self._loose

    def _recorded(self, entry: _Entry) -> list[Recorded]:
        where = self._experiment.path(entry.file)
        try:
            return recorded(pickle.loads_inert(_blob(entry.read()), file=where))
        except (StorageError, *_BROKEN) as error:  # it may even contain itself
            self._problems.unreadable(where, error)
            return []

    # ----------------------------------------------------------------------------- large files

    def _index(self, file: str) -> None:
        places = list(self._places(file))
        ends = [0, *(place for place, *_ in places), self._size(file)]
        for (before, place), (_, after), (_, name, moment) in zip(
            pairwise(ends[:-1]), pairwise(ends[1:]), places, strict=True
        ):
            read = partial(self._entry_around, file, before, place, after)
            entry = _Entry(file, read, partial(self._reached_in, file, place, after))
            if moment is not None:
                entry.reached = moment
            self._entries.setdefault(name, entry)

    def _size(self, file: str) -> int:
        with self._experiment.open(file) as source:
            return int(source.nbytes)

    def _places(self, file: str) -> Iterator[tuple[int, str, Moment | None]]:
        """Yield where each trial's folder is named, its name, and how far it had come.

        The last is None where the rest of its entry is in the next part of the file.
        """
        start, size = 0, self._size(file)
        while start < size:
            data = self._range(file, start, min(size, start + _CHUNK_NBYTES + _NAME_NBYTES))
            found = [one for one in _FOLDER.finditer(data) if one.start() < _CHUNK_NBYTES]
            for one, following in zip_longest(found, found[1:]):
                moment = following and reached_in(data, one.end(), following.start())
                yield start + one.start(), _unescaped(one[1]), moment
            start += _CHUNK_NBYTES

    def _range(self, file: str, start: int, end: int) -> bytearray:
        buffer = bytearray(end - start)
        with self._experiment.open(file) as source:
            source.read_into(start, memoryview(buffer))
        return buffer

    def _reached_in(self, file: str, place: int, after: int) -> Moment:
        return reached_in(self._range(file, place, after))

    def _entry_around(self, file: str, before: int, place: int, after: int) -> dict[str, Any]:
        data = self._range(file, before, after)
        *_, start = (found.start() for found in _ENTRY.finditer(data, 0, place - before))
        text = data[start:].decode(errors="replace")
        first, end = json.JSONDecoder().raw_decode(text)
        trial: dict[str, Any] = json.loads(first)
        if "checkpoint_manager" not in trial:  # since Ray 2.7 two JSON texts, before that one
            following = text[end:].lstrip(", \n")
            trial = json.loads(json.JSONDecoder().raw_decode(following)[0])
        return trial


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
