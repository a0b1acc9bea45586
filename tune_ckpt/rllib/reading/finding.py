"""Which part of which generation a path is: an Algorithm, a Policy, an RLModule, a Learner, ...

A path may be a checkpoint's root, any folder below it, or one of its files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tune_ckpt.errors import (
    CorruptCheckpointError,
    CorruptDataError,
    Fault,
    NotACheckpointError,
    PickleReadError,
)
from tune_ckpt.rllib.reading.generations import (
    MODULE_STATE_DIRS,
    OLD_METADATA,
    STATES,
    stem,
    type_of,
    version_of,
)
from tune_ckpt.rllib.reading.nothing_known import TUNE_PARAMS, WHAT_PARAMS_ARE, what_it_is
from tune_ckpt.rllib.reading.state_files import read_file
from tune_ckpt.rllib.reading.versions import CheckpointVersion
from tune_ckpt.tree.inspection.foreign import ForeignComponent, open_folder
from tune_ckpt.tree.layout import CTOR, RLLIB_FIELDS, RLLIB_METADATA, RLLIB_ONE_FILE, format_of
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_parent, open_store

TUNE_METADATA = ".tune_metadata"
_TYPED = (
    "tune_ckpt wrote it, exactly: see tune_ckpt.describe and load_state; for RLlib, write it again"
    " with tune_ckpt.convert_checkpoint(..., dialect='rllib')"
)


@dataclass(frozen=True)
class Part:
    """One component of a checkpoint of RLlib's; its files are read when they are asked for.

    Attributes:
        folder: Its folder.
        home: The folder in which its state file is.
        state_file: That file's name; None where it has no state of its own.
    """

    folder: ForeignComponent
    home: Store
    state_file: str | None

    @property
    def path(self) -> str:
        """Its folder's path."""
        return self.folder.store.location

    @property
    def name(self) -> str:
        """Its folder's name."""
        return os.path.basename(self.path.rstrip("/"))

    @property
    def metadata(self) -> dict[str, Any]:
        """What its metadata file says."""
        return self.folder.metadata

    @property
    def metadata_file(self) -> str:
        """The name of its metadata file; RLlib's usual one where there is none."""
        return next((name for name in RLLIB_METADATA if name in self.files), OLD_METADATA)

    @property
    def format(self) -> str:
        """How its state is written, by RLlib's words."""
        return "msgpack" if format_of(self.state_file or "") == "msgpack" else "cloudpickle"

    @property
    def state_path(self) -> str:
        """The path of its state file; of the folder where there is none."""
        return self.path if self.state_file is None else self.home.path(self.state_file)

    @cached_property
    def state(self) -> Any:
        """What its state file holds, inertly; nothing where there is none.

        Raises:
            CorruptCheckpointError: The file that its metadata name is not there.
            CorruptDataError: It is damaged.
        """
        if self.state_file is not None:
            return read_file(self.home, self.state_file)
        self.check_complete()
        return {}

    @cached_property
    def ctor(self) -> Any:
        """Its class and constructor arguments, inertly; nothing where there are none.

        Raises:
            CorruptDataError: The file that its metadata name is not there, or damaged.
        """
        self.check_constructible()
        return {} if self.folder.ctor is None else read_file(self.folder.store, self.folder.ctor)

    @cached_property
    def tune_metadata(self) -> dict[str, Any]:
        """What old Ray kept of the run, in a file beside the state; nothing where there is none."""
        names = (f"{self.state_file}{TUNE_METADATA}", TUNE_METADATA)
        found = [read_file(self.folder.store, name) for name in names if name in self.files]
        return found[0] if found and isinstance(found[0], dict) else {}

    def child(self, name: str) -> Part | None:
        """Return the folder ``name`` below, or None."""
        stores = dict(self.folder.children())
        return open_part(stores[name]) if name in stores else None

    def children(self, *types: str) -> dict[str, Part]:
        """Return the folders below that are of these types, by their names."""
        found = {name: open_part(store) for name, store in self.folder.children()}
        return {name: part for name, part in found.items() if part.type in types}

    def check_complete(self) -> None:
        """Check that its state is there.

        Raises:
            CorruptCheckpointError: The file that its metadata name is not there.
        """
        named = self.folder.named_state
        if self.state_file is None and named is not None:
            raise CorruptCheckpointError(self.path, (Fault(named, "the file is missing"),))

    def check_constructible(self) -> None:
        """Check that its class and constructor arguments are there.

        Raises:
            CorruptDataError: The file that its metadata name is not there.
        """
        named = self.metadata.get(RLLIB_FIELDS[CTOR])
        if self.folder.ctor is None and named is not None:
            reason = f"it is missing, though {self.metadata_file} names it"
            raise CorruptDataError(self.folder.store.path(str(named)), reason)

    @property
    def is_first_generation(self) -> bool:
        """Whether all of it is in one file, as Ray wrote it up to 2.0."""
        return self.state_file is not None and bool(RLLIB_ONE_FILE.fullmatch(self.state_file))

    @cached_property
    def type(self) -> str:
        """RLlib's word for what it is; empty where it is nothing of RLlib's."""
        return type_of(self)

    @cached_property
    def version(self) -> CheckpointVersion:
        """The version of its layout, told by its metadata where there are any."""
        return version_of(self)

    @property
    def folders(self) -> set[str]:
        """The names of the folders below."""
        return {entry.name for entry in self.folder.entries if entry.is_dir}

    @property
    def files(self) -> set[str]:
        """The names of the files in its folder."""
        return {entry.name for entry in self.folder.entries if not entry.is_dir}


# ------------------------------------------------------------------------------------ opening


def find(checkpoint: Any, filesystem: Any = None) -> Part:
    """Return the part of a checkpoint that a path is.

    Args:
        checkpoint: A folder or file: a local path, a URI, or a Ray Checkpoint.
        filesystem: A ``pyarrow.fs.FileSystem`` in which it is to be looked up.

    Raises:
        NotACheckpointError: RLlib wrote nothing like it.
        CorruptCheckpointError: Its state is missing.
        CorruptDataError: Its metadata are damaged.
    """
    parent, name = open_parent(checkpoint, filesystem)
    entry = parent.stat(name) if name else None
    if entry is None or entry.is_dir or name.endswith(".zip"):
        return _of_folder(open_store(checkpoint, filesystem))
    folder = open_folder(parent)
    return _of_folder(parent) if name in (*RLLIB_METADATA, folder.ctor) else _of_file(folder, name)


def _of_folder(store: Store) -> Part:
    part = open_part(store)
    if _is_typed(part):
        raise NotACheckpointError(part.path, _TYPED)
    if not part.type:
        raise NotACheckpointError(part.path, what_it_is(part.folder))
    part.check_complete()
    return part


def _is_typed(part: Part) -> bool:
    ours = part.metadata.get("tune_ckpt")
    return isinstance(ours, dict) and ours.get("dialect") == "typed"


def _of_file(folder: ForeignComponent, name: str) -> Part:
    part = Part(folder, folder.store, name)
    if name in TUNE_PARAMS:
        raise NotACheckpointError(part.state_path, WHAT_PARAMS_ARE)
    try:
        is_known = bool(part.type)
    except (CorruptDataError, PickleReadError) as error:
        if stem(name) in STATES:
            raise
        reason = f"the file is none of RLlib's ({error.reason})"
        raise NotACheckpointError(part.state_path, reason) from error
    if not is_known:
        raise NotACheckpointError(part.state_path, "the file holds no state of RLlib's")
    return part


def open_part(store: Store) -> Part:
    """Open a folder, whatever it is."""
    folder = open_folder(store)
    found = _state_file(folder)
    below = {entry.name for entry in folder.entries}.intersection(MODULE_STATE_DIRS)
    if found is not None or not below:
        return Part(folder, store, found)
    home = store.child(below.pop())
    return Part(folder, home, _state_file(open_folder(home)))


def _state_file(folder: ForeignComponent) -> str | None:
    numbers = {
        entry.name: int(found[1])
        for entry in folder.entries
        if not entry.is_dir and (found := RLLIB_ONE_FILE.fullmatch(entry.name))
    }
    if numbers:
        return max(numbers, key=lambda name: numbers[name])
    if folder.named_state is not None:
        return next(iter(folder.states), None)
    known = [name for name in folder.states if stem(name) in STATES]
    return min(known, key=lambda name: STATES.index(stem(name)), default=None)
