"""The folder that a checkpoint is to be written into: whose are the files that are in it already.

A checkpoint of ours or RLlib's, or what a killed save left of one, is replaced. Files of somebody
else's that happen to have a checkpoint's names would be lost: a save refuses such a folder.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from tune_ckpt.errors import OccupiedFolderError
from tune_ckpt.tree.layout import (
    CTOR,
    KNOWN_METADATA,
    RLLIB_MARKS,
    STATE,
    FileNames,
    has_name_of_ours,
    role_of,
)
from tune_ckpt.tree.metadata import OWN_KEYS
from tune_ckpt.tree.storage.folder import TEMPORARY, Store


def check_replaceable(store: Store, names: FileNames) -> None:
    """Refuse a folder in which files that are no checkpoint's would be replaced by one.

    Args:
        store: The folder.
        names: The names of the new checkpoint's own files.

    Raises:
        OccupiedFolderError: There are such files; all are told.
    """
    files = [entry.name for entry in store.list() if not entry.is_dir]
    replaced = {*names.all(), *FileNames().all(), *KNOWN_METADATA}.intersection(files)
    if replaced and not (_are_of_a_save(files) or _tell_of_a_checkpoint(store, files)):
        raise OccupiedFolderError(store.location, tuple(sorted(replaced)))


def is_for_other_things(store: Store) -> bool:
    """Say whether there is nothing in a folder that can be a checkpoint's, but something else.

    Others may be working in it: it stays the folder that it is.
    """
    names = [entry.name for entry in store.list()]
    return bool(names) and not any(
        name in KNOWN_METADATA or has_name_of_ours(name) or TEMPORARY in name for name in names
    )


def _are_of_a_save(files: Collection[str]) -> bool:
    """Say whether there are names among them that nobody else gives."""
    plain = FileNames().all()
    return any(
        TEMPORARY in name or role_of(name) == CTOR or (has_name_of_ours(name) and name not in plain)
        for name in files
    )


def _tell_of_a_checkpoint(store: Store, files: Collection[str]) -> bool:
    """Say whether a metadata file is a checkpoint's, or was: a damaged one beside a state."""
    told = {name: _told(store, name) for name in files if name.endswith(".json")}
    damaged = any(told.get(name, {}) is None for name in KNOWN_METADATA)
    has_state = any(role_of(name) == STATE for name in files)
    return (damaged and has_state) or any(
        (OWN_KEYS | RLLIB_MARKS).intersection(keys) for keys in told.values() if keys
    )


def _told(store: Store, name: str) -> Collection[str] | None:
    """Return the keys of a JSON file, or None where it is damaged."""
    try:
        document = json.loads(store.read_bytes(name))
    except (ValueError, RecursionError):
        return None
    return document.keys() if isinstance(document, dict) else ()
