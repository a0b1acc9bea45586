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
    RLLIB_METADATA,
    RLLIB_SUFFIXES,
    STATE,
    FileNames,
)
from tune_ckpt.tree.storage.folder import TEMPORARY, Entry, Store

_MARKS = {*RLLIB_FIELDS.values(), "checkpoint_version", "ray_version"}


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
        """The files that hold something, by their suffixes."""
        return [e for e in self.entries if not e.is_dir and e.name.endswith(RLLIB_SUFFIXES)]

    @property
    def ctor(self) -> str | None:
        """The name of the file of class and constructor arguments, or None."""
        return self._existing(self._named(CTOR) or FileNames().ctor)

    @property
    def states(self) -> list[str]:
        """The names of the state's files: the one that the metadata name, else all there are."""
        named = self._named(STATE)
        if named is None:
            return [file.name for file in self.files if file.name != self.ctor]
        found = self._existing(named)
        return [] if found is None else [found]

    @property
    def missing(self) -> list[str]:
        """The names of files that the metadata name and that are not there."""
        named = [name for name in map(self._named, RLLIB_FIELDS) if name is not None]
        return [name for name in named if self._existing(name) is None]

    def _named(self, role: str) -> str | None:
        # Old versions have the path where it was written.
        named = self.metadata.get(RLLIB_FIELDS[role])
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


def open_foreign(store: Store) -> ForeignComponent:
    """Open the folder of a checkpoint that RLlib wrote.

    Raises:
        NotACheckpointError: Its metadata are not RLlib's, or there are none.
        CorruptDataError: Its metadata are damaged.
    """
    found = open_folder(store)
    if not found.metadata.keys() & _MARKS:
        raise NotACheckpointError(store.location, "RLlib did not write it, nor did tune_ckpt")
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
        raise CorruptDataError(store.path(name), f"it is no JSON ({error})") from error
