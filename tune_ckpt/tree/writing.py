"""Writing a packed component tree, as a whole and in one step."""

from __future__ import annotations

import datetime
import logging
import platform
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from tune_ckpt.errors import CorruptDataError, StorageError
from tune_ckpt.formats.packed import Packed
from tune_ckpt.tree.files import check_file
from tune_ckpt.tree.generations import new_generation
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.metadata import ComponentRecord, FileRecord, Metadata
from tune_ckpt.tree.packing import Node, PackedComponent, pack_tree
from tune_ckpt.tree.place import Place
from tune_ckpt.tree.reading import OpenComponent, open_tree, owned_paths
from tune_ckpt.tree.staging import can_stage, staging
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import address_of, open_store
from tune_ckpt.tree.targets import check_replaceable, is_for_other_things
from tune_ckpt.version import __version__

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """What a save did; it may be given wherever a checkpoint's path may be.

    Attributes:
        path: Where the checkpoint is.
        digest: Its content digest: equal states have equal ones.
        nbytes: The size of its state and constructor files.
        reused_nbytes: How many of them were taken over from the base instead of being written.
    """

    path: str
    digest: str
    nbytes: int
    reused_nbytes: int = 0

    def __fspath__(self) -> str:
        """Return where the checkpoint is."""
        return self.path


def save_tree(
    component: Node,
    path: Any,
    format: Format,
    *,
    filesystem: Any = None,
    base: Any = None,
    durable: bool = False,
) -> Saved:
    """Save a component tree at a path, where it replaces whatever checkpoint is there.

    Args:
        component: The tree.
        path: A local path or a URI.
        format: How its files are packed.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` and ``base`` are to be looked up.
        base: The path of another checkpoint, whose files are taken over where they hold just what
            is to be written.
        durable: Come back only when all of it would survive a loss of power.

    Raises:
        InvalidArgumentError: There is no such format.
        UnsupportedStateError: The format cannot bring back some values; all of the whole tree are
            listed, and nothing is written.
        InvalidNameError: A component's name cannot be a folder.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint at ``base``.
        CorruptDataError: The metadata of the one that is there are damaged.
        OccupiedFolderError: Files of somebody else's have a checkpoint's names.
        StorageError: The storage refuses; what was there is untouched.
    """
    packed = pack_tree(component, format)
    return write_tree(packed, path, filesystem=filesystem, base=base, durable=durable)


def write_tree(
    packed: PackedComponent,
    path: Any,
    *,
    filesystem: Any = None,
    base: Any = None,
    durable: bool = False,
) -> Saved:
    """Save a tree that is packed already; for the rest, see `save_tree`."""
    store = open_store(path, filesystem)
    opened = None if base is None else open_tree(open_store(base, filesystem))
    saved = write_packed(store.durable() if durable else store, packed, opened)
    return replace(saved, path=address_of(path, filesystem))


def write_packed(store: Store, packed: PackedComponent, base: OpenComponent | None = None) -> Saved:
    """Write a tree so that it replaces whatever checkpoint is at ``store``, as a whole.

    Args:
        store: The checkpoint's folder.
        packed: The tree.
        base: Another checkpoint, whose files are taken over where they hold just what is to be
            written, on the same storage.

    Raises:
        CorruptDataError: A file of a tree that is copied is damaged; what was there is untouched.
        OccupiedFolderError: Files of somebody else's have a checkpoint's names; they are untouched.
        StorageError: The storage refuses; what was there is untouched.
    """
    with _replacing(store, packed) as place:
        writing = _Writing(place)
        metadata = writing.component(place.store, packed, base)
        if base is not None:
            reused = {"digest": base.metadata.digest, "reused_nbytes": writing.reused_nbytes}
            metadata.facts["base"] = reused
        place.root = packed.names.metadata, metadata.to_json()
    return Saved(store.location, metadata.digest, writing.nbytes, writing.reused_nbytes)


def _replacing(store: Store, packed: PackedComponent) -> AbstractContextManager[Place]:
    kept = packed.written.keys()  # they are new, whatever the old checkpoint says of their names
    if can_stage(store) and not is_for_other_things(store):
        check_replaceable(store, packed.names)
        return staging(store, lambda folder: _without(owned_paths(folder), kept))
    store.make()  # before it is listed: whoever cannot make it is told so
    check_replaceable(store, packed.names)
    return new_generation(store, {*packed.names.all(), *packed.components}, kept)


def _without(paths: Collection[str], names: Collection[str]) -> set[str]:
    return {path for path in paths if path.partition("/")[0] not in names}


@dataclass
class _Writing:
    place: Place
    nbytes: int = 0
    reused_nbytes: int = 0

    def component(
        self, store: Store, packed: PackedComponent, base: OpenComponent | None
    ) -> Metadata:
        """Write all of a component but its metadata, which is returned."""
        store.make()
        save = {"save": self.place.save}
        known = _facts() if packed.facts is None else packed.facts
        # A copy keeps the id of its first save, unless its files' names have another in them.
        facts = {**save, **known, **(save if self.place.in_names else {})}
        metadata = Metadata(packed.cls, packed.format, facts=facts, extra=packed.extra)
        names = self.place.names(packed.names)
        for role, value in packed.files.items():
            name = names.file(role, packed.format)
            metadata.files[role] = self._file(store, name, value, _File.of(base, role, packed))
        metadata.components.update(packed.written)
        for name, child in packed.components.items():
            folder = store.child(name)
            written = self.component(folder, child, _child(base, name))
            file = self.place.names(child.names).metadata
            self._note(folder, file)
            folder.write_bytes(file, written.to_json())
            metadata.components[name] = ComponentRecord(name, file, written.digest)
        return metadata

    def _file(self, store: Store, name: str, value: Packed, old: _File | None) -> FileRecord:
        self._note(store, name)
        self.nbytes += value.nbytes
        if old and old.holds(value) and store.take(name, old.store, old.record.name):
            self.reused_nbytes += value.nbytes
            return FileRecord(name, value.nbytes, old.record.digest)
        with store.create(name, value.nbytes) as sink:
            digest = value.write(sink)
        return FileRecord(name, value.nbytes, digest)

    def _note(self, store: Store, name: str) -> None:
        self.place.written.append((store, name))


def _facts() -> dict[str, Any]:
    return {
        "tune_ckpt_version": __version__,
        "python_version": platform.python_version(),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


# ---------------------------------------------------------------------------- what is taken over


@dataclass(frozen=True)
class _File:
    """A file of the base."""

    store: Store
    record: FileRecord
    format: Format

    @classmethod
    def of(cls, base: OpenComponent | None, role: str, packed: PackedComponent) -> _File | None:
        """Return the file with this role, where it is written in the same format."""
        if base is None or base.metadata.format != packed.format:
            return None
        record = base.metadata.files.get(role)
        return None if record is None else cls(base.store, record, packed.format)

    def holds(self, value: Packed) -> bool:
        """Say whether the file has the content that is to be written.

        On the local disk every byte of it is looked at. Remote storage checks its own bytes, and
        to fetch them would cost more than to send them.
        """
        if self.record.nbytes != value.nbytes or self.record.digest != value.digest():
            return False
        try:
            if self.store.filesystem is None:
                check_file(self.store, self.record, self.format)
        except (CorruptDataError, StorageError) as error:
            _log.warning("It is not reused, but written again: %s", error)
            return False
        return True


def _child(base: OpenComponent | None, name: str) -> OpenComponent | None:
    if base is None or name not in base.metadata.components:
        return None
    try:
        return base.child(name)
    except (CorruptDataError, StorageError) as error:
        _log.warning("It is not reused, but written again: %s", error)
        return None
