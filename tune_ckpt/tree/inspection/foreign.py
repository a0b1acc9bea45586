"""Checkpoints that RLlib wrote by itself, of any generation, as far as their folders tell.

Versions 2.0 and 2.1 have our layout without our part of the metadata. Older ones keep the policies'
and learners' folders below; their metadata may name the state file by a path of another machine.
Every folder is taken for a component, every file with a known suffix for one of its files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import CorruptDataError, NotACheckpointError
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.tree.inspection.contents import loads
from tune_ckpt.tree.layout import (
    CTOR,
    RLLIB_FIELDS,
    RLLIB_MARKS,
    RLLIB_METADATA,
    RLLIB_ONE_FILE,
    RLLIB_STATES,
    RLLIB_SUFFIXES,
    STATE,
    FileNames,
)
from tune_ckpt.tree.not_checkpoints import is_surely_none, why_not_rllibs
from tune_ckpt.tree.reading import OpenComponent, open_tree
from tune_ckpt.tree.storage.folder import TEMPORARY, Entry, Store

_POLICIES = "policies"  # the folder of those of the old API stack


@dataclass(frozen=True)
class ForeignComponent:
    """One folder of a checkpoint of RLlib's.

    Attributes:
        store: The folder.
        metadata: What its metadata file says; nothing where there is none.
        entries: What is in the folder.
    """

    store: Store
    metadata: dict[str, Any]
    entries: list[Entry]

    @property
    def files(self) -> list[Entry]:
        """The files that hold something, by their names."""
        return [e for e in self.entries if not e.is_dir and _holds_something(e.name)]

    @property
    def ctor(self) -> str | None:
        """The name of the file of class and constructor arguments, or None."""
        return self._existing(self._named(CTOR) or FileNames().ctor)

    @property
    def states(self) -> list[str]:
        """The names of the state's files: the one that the metadata name, else all there are."""
        named = self.named_state
        if named is None:
            return [file.name for file in self.files if file.name != self.ctor]
        found = self._existing(named)
        return [] if found is None else [found]

    @property
    def named_state(self) -> str | None:
        """The name of the state's file by the metadata, whether or not it is there."""
        return self._named(STATE)

    @property
    def missing(self) -> list[str]:
        """The names of files that the metadata name and that are not there."""
        named = [name for name in map(self._named, RLLIB_FIELDS) if name is not None]
        return [name for name in named if self._existing(name) is None]

    @property
    def policy_ids(self) -> list[str]:
        """The ids of the policies that the metadata list; each has a folder of its own."""
        told = self.metadata.get("policy_ids")
        return [*map(str, told)] if isinstance(told, list) else []

    @property
    def missing_folders(self) -> list[str]:
        """The paths of folders that the metadata tell of and in which there is nothing."""
        return [*self._missing_policies(), *self._missing_modules()]

    def _missing_policies(self) -> Iterator[str]:
        policies = self.store.child(_POLICIES)
        there = _folders(policies) if self.policy_ids else set()
        for name in self.policy_ids:
            if name not in there or not policies.child(name).names():
                yield f"{_POLICIES}/{name}"

    def _missing_modules(self) -> list[str]:
        store, way = self.store, self._way_to_modules()
        for number, name in enumerate(way, 1):
            if name not in _folders(store):
                return ["/".join(way[:number])]
            store = store.child(name)
        return [] if not way or _folders(store) else ["/".join(way)]

    def _way_to_modules(self) -> tuple[str, ...]:
        """Return the folders, each in the one before, in the last of which modules have theirs."""
        if "module_state_dir" in self.metadata:  # a learner of Ray 2.5 to 2.30
            return (str(self.metadata["module_state_dir"]),)
        if not (self.named_state or "").startswith("algorithm_state"):
            return ()
        if RLLIB_FIELDS[CTOR] in self.metadata:
            return ("learner_group", "learner", "rl_module")
        return ("learner",) if self.metadata.get("checkpoint_version") == "1.2" else ()

    def _named(self, role: str) -> str | None:
        # Old versions have the path where it was written; the oldest name the type only.
        default = RLLIB_STATES.get(str(self.metadata.get("type"))) if role == STATE else None
        named = self.metadata.get(RLLIB_FIELDS[role], default)
        return None if named is None else str(named).replace("\\", "/").rpartition("/")[2]

    def _existing(self, name: str) -> str | None:
        # Some versions leave the suffix out, or name the wrong one.
        stem = name[: -len(suffix)] if (suffix := _suffix(name)) else name
        names = {file.name for file in self.files}
        candidates = (name, *(stem + suffix for suffix in RLLIB_SUFFIXES))
        return next((candidate for candidate in candidates if candidate in names), None)

    @property
    def cls(self) -> str:
        """Its class as far as it can be told: ``module:QualName``, or RLlib's word for its type."""
        if self.ctor is not None:
            stored = loads(self.store.read_bytes(self.ctor), self.store.path(self.ctor))
            if isinstance(stored, dict):
                return _class_name(stored.get("class"))
        spec = self.metadata.get("module_spec_dict")
        module = spec.get("module_class") if isinstance(spec, dict) else None
        return str(self.metadata.get("type") or self.metadata.get("learner_class") or module or "")

    def children(self) -> Iterator[tuple[str, Store]]:
        """Yield the folders below, with their names; links are not followed."""
        for entry in self.entries:
            if entry.is_dir and not entry.is_link and TEMPORARY not in entry.name:
                yield entry.name, self.store.child(entry.name)

    @property
    def links(self) -> list[str]:
        """The names of links to other folders: nothing tells where they end."""
        return [entry.name for entry in self.entries if entry.is_dir and entry.is_link]


def _folders(store: Store) -> set[str]:
    return {name for name, is_dir in store.names().items() if is_dir}


def _holds_something(name: str) -> bool:
    return name.endswith(RLLIB_SUFFIXES) or RLLIB_ONE_FILE.fullmatch(name) is not None


def _suffix(name: str) -> str:
    return next((suffix for suffix in RLLIB_SUFFIXES if name.endswith(suffix)), "")


def _class_name(cls: Any) -> str:
    if not isinstance(cls, Opaque):
        return cls if isinstance(cls, str) else ""
    if cls.args is None:
        return f"{cls.module}:{cls.name}"
    # A class that was pickled by value: cloudpickle's function gets its name and its attributes.
    _, name, _, attributes, *_ = *cls.args, None, None, None, None
    module = attributes.get("__module__", "") if isinstance(attributes, dict) else ""
    return f"{module}:{name}" if isinstance(name, str) else ""


Opened = OpenComponent | ForeignComponent


def open_any(store: Store) -> Opened:
    """Open the checkpoint in a folder, ours or RLlib's.

    Raises:
        NotACheckpointError: There is none.
        IncompleteCheckpointError: There is the beginning of one.
        CorruptDataError: Its metadata are not what was written.
    """
    try:
        return open_tree(store)
    except NotACheckpointError:
        if is_surely_none(store):
            raise
    return open_foreign(store)


def open_below(store: Store) -> Opened:
    """Open a folder in a checkpoint of RLlib's; one of ours may sit there.

    Raises:
        IncompleteCheckpointError, CorruptDataError: As for `open_any`.
    """
    try:
        return open_tree(store)
    except NotACheckpointError:
        return open_folder(store)


def open_foreign(store: Store) -> ForeignComponent:
    """Open the folder of a checkpoint that RLlib wrote.

    Raises:
        NotACheckpointError: Its metadata are not RLlib's, or there are none.
        CorruptDataError: Its metadata are damaged.
    """
    found = open_folder(store)
    if not found.metadata.keys() & RLLIB_MARKS:
        names = [file.name for file in found.files]
        raise NotACheckpointError(store.location, why_not_rllibs(names))
    return found


def open_folder(store: Store) -> ForeignComponent:
    """Open a folder below, which may do without metadata.

    Raises:
        CorruptDataError: Its metadata are damaged.
    """
    entries = store.list()
    names = [entry.name for entry in entries if not entry.is_dir]
    found = [name for name in RLLIB_METADATA if name in names]
    metadata = _read_json(store, found[0]) if found else {}
    return ForeignComponent(store, metadata if isinstance(metadata, dict) else {}, entries)


def _read_json(store: Store, name: str) -> Any:
    try:
        return json.loads(store.read_bytes(name))
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(store.path(name), f"it is not JSON ({error})") from error
