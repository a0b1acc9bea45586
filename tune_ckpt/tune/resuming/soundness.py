"""From which checkpoint a trial can go on: the newest that is valid."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from tune_ckpt.errors import CorruptDataError, Fault, TuneCkptError
from tune_ckpt.formats import pickle
from tune_ckpt.tree.inspection.verify import verify
from tune_ckpt.tree.storage.store import Store, open_parent, open_store
from tune_ckpt.tune.resuming.aside import set_aside


@dataclass
class Soundness:
    """Verifies checkpoints, each once, and sets the damaged ones aside.

    Attributes:
        filesystem: The pyarrow filesystem they lie on; None for the local disk.
        faults: What was set aside, and why.
        moved: The paths at which the damaged ones were.
    """

    filesystem: Any
    faults: list[Fault] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    _valid: dict[str, bool] = field(default_factory=dict)

    def is_valid(self, path: str) -> bool:
        """Say whether a checkpoint is there and valid; one that is damaged is set aside."""
        if path not in self._valid:
            self._valid[path] = self._check(path)
        return self._valid[path]

    def _check(self, path: str) -> bool:
        folder, name = open_parent(path, self.filesystem)
        if not folder.exists(name):
            self.moved.add(path)
            return False
        found = faults(path, self.filesystem)
        reasons = [str(fault) if fault.path else fault.reason for fault in found]
        if reasons:
            self.faults.append(Fault(set_aside(folder, name), "; ".join(reasons)))
            self.moved.add(path)
        return not reasons


def faults(path: str, filesystem: Any = None) -> list[Fault]:
    """Return what is wrong with a checkpoint, whoever wrote it.

    Ours are checked against their digests. Of others it can be known that a folder is empty, that
    a pickle, JSON or zip file (such as torch's) breaks off, or that a file is empty.
    """
    store = open_store(path, filesystem)
    report = verify(path, filesystem=filesystem)
    if report.faults or not report.unverified:
        return report.faults
    return list(_foreign_faults(store))


def _foreign_faults(store: Store, within: str = "") -> Iterator[Fault]:
    for entry in store.list():
        if entry.is_dir:
            if not entry.is_link:  # it may lead anywhere, and back
                yield from _foreign_faults(store.child(entry.name), f"{within}{entry.name}/")
            continue
        reason = leads_nowhere(store, entry.name) if entry.is_link else None
        check = _CHECKS.get(entry.name.rpartition(".")[2].lower())
        if check is not None and reason is None:
            reason = check(store.read_bytes(entry.name), entry.name)
        if reason is not None:
            yield Fault(within + entry.name, reason)


def leads_nowhere(store: Store, name: str) -> str | None:
    """Say that a file which a listing names is not there; None where it is."""
    return None if store.exists(name) else "it is a link that leads nowhere"


def broken_pickle(store: Store, name: str) -> str | None:
    """Say what is wrong with a file that should be a pickle; None where it is whole."""
    return _pickle(store.read_bytes(name), name)


def _pickle(data: bytes, name: str) -> str | None:
    if data[:2] == b"PK":  # torch's are zip files, whatever their name
        return _zip(data, name)
    try:
        pickle.loads_inert(data, file=name)
    except CorruptDataError as error:
        return error.reason
    except TuneCkptError:
        return None  # whole, but not to be known inertly
    return None


def _text(data: bytes, name: str) -> str | None:
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def _zip(data: bytes, name: str) -> str | None:
    if data[:2] != b"PK":
        return None if data else "it is empty"
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        return str(error)
    return None if bad is None else f"{bad} in it does not match its checksum"


# What is wrong with a file of such a name, by its content.
_CHECKS: dict[str, Callable[[bytes, str], str | None]] = {
    "pkl": _pickle,
    "pickle": _pickle,
    "json": _text,
    "pt": _zip,
    "pth": _zip,
    "npz": _zip,
    "zip": _zip,
}
