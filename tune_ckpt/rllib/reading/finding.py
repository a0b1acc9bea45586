"""Which part of which generation a path is: an Algorithm, a Policy, an RLModule, a Learner, ...

A path may be a checkpoint's root, any folder below it, or one of its files. This is the one place
that knows what RLlib's older generations call things; `tune_ckpt.tree.layout` knows the newest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tune_ckpt.errors import CorruptCheckpointError, CorruptDataError, Fault, NotACheckpointError
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.rllib.reading.state_files import read_file
from tune_ckpt.rllib.reading.versions import CheckpointVersion
from tune_ckpt.tree.inspection.foreign import ForeignComponent, open_folder
from tune_ckpt.tree.layout import RLLIB_FIELDS, RLLIB_METADATA, STATE, is_msgpack
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_parent, open_store

ALGORITHM, POLICY, MODULE = "Algorithm", "Policy", "RLModule"
POLICIES, MODULES = "PolicyMap", "MultiRLModule"  # folders of several

# State files by their names' stems, in the order in which they are looked for.
_TYPE_OF_STATE = {"algorithm_state": ALGORITHM, "policy_state": POLICY, "module_state": MODULE}
_STATES = (*_TYPE_OF_STATE, STATE)
_FIRST_GENERATION = re.compile(r"checkpoint-(\d+)")  # the one file of Ray up to 2.0
_MODULE_STATE_DIR = "module_state_dir"  # in 1.2, the state of a module lies one level down
TUNE_METADATA = ".tune_metadata"
_TYPED = (
    "tune_ckpt wrote it, exactly: see tune_ckpt.describe and load_state; for RLlib, write it again"
    " with tune_ckpt.convert_checkpoint(..., dialect='rllib')"
)
_MODULE_METADATA, _LEARNER_METADATA = "rl_module_metadata.json", "learner_state.json"

# What tells a component's type: how its class's name ends; else what is below; else its own name.
_TYPE_OF_CLASS = {
    **{name: name for name in ("EnvRunner", "LearnerGroup", "Learner")},
    **{"MultiRLModule": MODULES, "MultiAgentRLModule": MODULES, "RLModule": MODULE},
}
_TYPE_OF_CHILD = {
    "learner_group": ALGORITHM,
    "env_to_module_connector": "EnvRunner",
    "learner": "LearnerGroup",
    "rl_module": "Learner",
}
_TYPE_OF_FOLDER = {"env_runner": "EnvRunner", "eval_env_runner": "EnvRunner"}

# ... and a file's of which neither name nor class tells: keys that no other type's state has.
_TYPE_OF_KEYS = {
    "algorithm_class": ALGORITHM,
    "worker": ALGORITHM,
    "weights": POLICY,
    "param_groups": "Optimizer",
    "optimizer": "Learner",
}


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
        return next(
            (name for name in RLLIB_METADATA if name in self._files), "rllib_checkpoint.json"
        )

    @property
    def format(self) -> str:
        """How its state is written, by RLlib's words."""
        return "msgpack" if self.state_file and is_msgpack(self.state_file) else "cloudpickle"

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
        """Its class and constructor arguments, inertly; nothing where there are none."""
        return {} if self.folder.ctor is None else read_file(self.folder.store, self.folder.ctor)

    @cached_property
    def tune_metadata(self) -> dict[str, Any]:
        """What old Ray kept of the run, in a file beside the state; nothing where there is none."""
        names = (f"{self.state_file}{TUNE_METADATA}", TUNE_METADATA)
        found = [read_file(self.folder.store, name) for name in names if name in self._files]
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
        named = self.metadata.get(RLLIB_FIELDS[STATE])
        if self.state_file is None and named is not None:
            raise CorruptCheckpointError(self.path, (Fault(str(named), "the file is missing"),))

    @property
    def is_first_generation(self) -> bool:
        """Whether all of it is in one file, as Ray wrote it up to 2.0."""
        return self.state_file is not None and bool(_FIRST_GENERATION.fullmatch(self.state_file))

    @cached_property
    def type(self) -> str:
        """RLlib's word for what it is; empty where it is nothing of RLlib's."""
        if self.is_first_generation:
            return ALGORITHM
        named = self.state_file or str(self.metadata.get(RLLIB_FIELDS[STATE], ""))
        found = _TYPE_OF_STATE.get(_stem(named))
        if found == MODULE:
            return MODULES if self._folders - {_MODULE_STATE_DIR} else MODULE
        return found or next(self._types(), "")

    def _types(self) -> Iterator[str]:
        if _LEARNER_METADATA in self._files:
            yield "Learner"
        if _MODULE_METADATA in self._files:
            yield MODULES
        if self.folder.ctor is not None:
            yield self._type_by_class()
        if self.state_file is not None:
            yield self._type_by_content()
        if self.name == "policies" and self._folders:
            yield POLICIES

    def _type_by_class(self) -> str:
        module, _, name = self.folder.cls.partition(":")
        if module.startswith("ray.rllib.connectors."):
            return "ConnectorPipelineV2" if name.endswith("Pipeline") else "ConnectorV2"
        by_class = (kind for end, kind in _TYPE_OF_CLASS.items() if name.endswith(end))
        by_child = (kind for child, kind in _TYPE_OF_CHILD.items() if child in self._folders)
        by_folder = _TYPE_OF_FOLDER.get(self.name, "Checkpointable")
        return next(by_class, None) or next(by_child, None) or by_folder

    def _type_by_content(self) -> str:
        keys = self.state if isinstance(self.state, dict) else {}
        by_key = (kind for key, kind in _TYPE_OF_KEYS.items() if key in keys)
        return next(by_key, "")

    @cached_property
    def version(self) -> CheckpointVersion:
        """The version of its layout, told by its metadata where there are any."""
        if self.is_first_generation:
            return CheckpointVersion("0.1")
        told = str(self.metadata.get("checkpoint_version") or self._version_by_layout())
        if not re.fullmatch(r"\d{1,4}(\.\d{1,4})*", told):
            raise CorruptDataError(self.path, f"its metadata tell the version {told[:50]!r}")
        return CheckpointVersion(told)

    def _version_by_layout(self) -> str:
        if self.folder.ctor is not None:
            return "2.1"
        learner = {_MODULE_METADATA, _LEARNER_METADATA, _MODULE_STATE_DIR, "learner"}
        if learner & (self._files | self._folders | {self.name}):
            return "1.2"
        if _stem(self.state_file or "") in _TYPE_OF_STATE or self.type == POLICIES:
            return _told_by_state(self) or "1.1"
        return "0.1"  # as RLlib takes any other file

    @property
    def _folders(self) -> set[str]:
        return {entry.name for entry in self.folder.entries if entry.is_dir}

    @property
    def _files(self) -> set[str]:
        return {entry.name for entry in self.folder.entries if not entry.is_dir}


def _told_by_state(part: Part) -> str | None:
    told = part.state.get("checkpoint_version") if isinstance(part.state, dict) else None
    if isinstance(told, Opaque) and isinstance(told.state, tuple):
        told = ".".join(map(str, told.state[1]))  # packaging's Version: epoch, release, ...
    return told if isinstance(told, str) else None


def _stem(name: str) -> str:
    return re.split(r"[/\\]", name)[-1].partition(".")[0]


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
    if entry is not None and not entry.is_dir and not name.endswith(".zip"):
        return _find_by_file(parent, name)
    part = open_part(open_store(checkpoint, filesystem))
    if _is_typed(part):
        raise NotACheckpointError(part.path, _TYPED)
    if not part.type:
        raise NotACheckpointError(part.path, _what_it_is(part.folder))
    part.check_complete()
    return part


def _is_typed(part: Part) -> bool:
    ours = part.metadata.get("tune_ckpt")
    return isinstance(ours, dict) and ours.get("dialect") == "typed"


def _find_by_file(store: Store, name: str) -> Part:
    folder = open_folder(store)
    if name in (*RLLIB_METADATA, folder.ctor):
        return open_part(store)
    part = Part(folder, store, name)
    if not part.type:
        raise NotACheckpointError(part.state_path, "the file holds no state of RLlib's")
    return part


def open_part(store: Store) -> Part:
    """Open a folder, whatever it is."""
    folder = open_folder(store)
    found = _state_file(folder)
    home = store.child(_MODULE_STATE_DIR)
    if found is None and any(entry.name == _MODULE_STATE_DIR for entry in folder.entries):
        return Part(folder, home, _state_file(open_folder(home)))
    return Part(folder, store, found)


def _state_file(folder: ForeignComponent) -> str | None:
    numbers = {
        entry.name: int(found[1])
        for entry in folder.entries
        if not entry.is_dir and (found := _FIRST_GENERATION.fullmatch(entry.name))
    }
    if numbers:
        return max(numbers, key=lambda name: numbers[name])
    if folder.metadata.get(RLLIB_FIELDS[STATE]) is not None:
        return next(iter(folder.states), None)
    known = [name for name in folder.states if _stem(name) in _STATES]
    return min(known, key=lambda name: _STATES.index(_stem(name)), default=None)


def _what_it_is(folder: ForeignComponent) -> str:
    if not folder.entries:
        return "there is nothing"
    names = [e.name for e in folder.entries if e.is_dir and e.name.startswith("checkpoint_")]
    if names:
        return f"it is a folder of checkpoints; pass one of them: {', '.join(names[-5:])}"
    return f"it has none of RLlib's state files ({', '.join(_STATES)}, checkpoint-<N>)"
