"""Reading a component tree: no file before it is asked for, and none without being verified.

A writer may replace the checkpoint at any time. Every file is checked against what the metadata
above it says, so a reader never mixes two checkpoints: it finds that something does not fit, and
`tune_ckpt.tree.consistency` begins again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tune_ckpt.errors import (
    ComponentNotFoundError,
    CorruptDataError,
    IncompleteCheckpointError,
    NotACheckpointError,
    PickleReadError,
    StorageError,
)
from tune_ckpt.formats import pickle
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.formats.pickle_files import read_verified
from tune_ckpt.tree import pickled_code
from tune_ckpt.tree.files import check_file, check_size, read_file
from tune_ckpt.tree.layout import KNOWN_METADATA, STATE, FileNames
from tune_ckpt.tree.metadata import Metadata
from tune_ckpt.tree.not_checkpoints import IS_A_FILE, why_none, why_of_a_sweep
from tune_ckpt.tree.staging import settled
from tune_ckpt.tree.storage.folder import Entry, Store


@dataclass(frozen=True)
class OpenComponent:
    """One component of a checkpoint on storage.

    Attributes:
        store: Its folder.
        metadata: What its metadata file says.
        metadata_file: That file's name.
        metadata_nbytes: That file's size; 0 where there is none.
    """

    store: Store
    metadata: Metadata
    metadata_file: str
    metadata_nbytes: int = 0

    @property
    def owned_names(self) -> set[str]:
        """The names in its folder that belong to it."""
        files = {file.name for file in self.metadata.files.values()}
        folders = {record.folder for record in self.metadata.components.values()}
        return {*files, *folders, self.metadata_file}

    def state(self, options: ReadOptions) -> Any:
        """Return the state, after a check of the component's other files too.

        Raises:
            CorruptDataError, UntrustedPickleError, PickleReadError: As for `read`; the first of the
                other files too.
        """
        for role, file in self.metadata.files.items():
            if role != STATE:
                check_file(self.store, file, self.metadata.format)
        return self.read(STATE, options)

    def read(self, role: str, options: ReadOptions) -> Any:
        """Return what the file of that role (one of the layout's `ROLES`) holds, verified.

        Raises:
            CorruptDataError: The file is not what was written.
            UntrustedPickleError: It is a pickle that names more than harmless things.
            PickleReadError: It is a trusted pickle that cannot be read here, or holds code of
                another Python.
        """
        if options.allow_pickle and self.metadata.format == "pickle":
            self._check_code(role)
        file = self.metadata.files[role]
        return read_file(self.store, file, self.metadata.format, options)

    def _check_code(self, role: str) -> None:
        written = pickled_code.minor_of(self.metadata.facts.get("python_version"))
        if written is None or written == pickled_code.here():
            return
        file = self.store.path(self.metadata.files[role].name)
        if pickled_code.holds_code(pickle.list_globals(self.raw(role), file=file)):
            raise PickleReadError(file, pickled_code.told([written]))

    def raw(self, role: str) -> memoryview:
        """Return the bytes of the file of that role, which is a pickle, verified.

        Raises:
            CorruptDataError: They are not what was written.
        """
        file = self.metadata.files[role]
        check_size(self.store, file)
        with self.store.open(file.name) as source:
            return read_verified(source, file.digest)

    def child(self, name: str) -> OpenComponent:
        """Return the subcomponent of that name, ``/`` between levels.

        Raises:
            ComponentNotFoundError: There is none.
            CorruptDataError: It is not the one that this component was saved with.
        """
        first, _, rest = name.partition("/")
        record = self.metadata.components.get(first)
        if record is None:
            names = tuple(self.metadata.components)
            advice = f"A part of a state is read with tune_ckpt.load_state(..., at={name!r})."
            raise ComponentNotFoundError(self.store.location, first, names, advice)
        folder = self.store.child(record.folder)
        file = folder.path(record.metadata)
        if not folder.exists(record.metadata):
            raise CorruptDataError(file, "it is missing")
        child = _open(folder, record.metadata)
        if child is None or child.metadata.digest != record.digest:
            raise CorruptDataError(file, "it belongs to another checkpoint")
        return child.child(rest) if rest else child

    def without(self, names: Collection[str]) -> OpenComponent:
        """Return the component as if it had no subcomponents of those names."""
        components = {n: r for n, r in self.metadata.components.items() if n not in names}
        return replace(self, metadata=replace(self.metadata, components=components))

    def is_same_as(self, other: OpenComponent) -> bool:
        """Say whether both are what one and the same writer left, at the same place."""
        same_place = self.store.location == other.store.location
        return same_place and self.metadata == other.metadata

    def children(self) -> Iterator[tuple[str, OpenComponent]]:
        """Yield the subcomponents with their names."""
        for name in self.metadata.components:
            yield name, self.child(name)


_TRIES_TO_OPEN = 3


def may_be_torn(error: Exception) -> bool:
    """Say whether a writer that replaces what is being read can be the cause."""
    return isinstance(error, CorruptDataError) or isinstance(error.__cause__, FileNotFoundError)


def open_tree(store: Store) -> OpenComponent:
    """Open the checkpoint in a folder.

    Raises:
        NotACheckpointError: There is none.
        IncompleteCheckpointError: There is the beginning of one.
        CorruptDataError: Its metadata is not what was written.
    """
    for _ in range(_TRIES_TO_OPEN - 1):
        try:
            return _open_root(settled(store).confined())
        except (CorruptDataError, StorageError) as error:
            if not may_be_torn(error):
                raise
        except (NotACheckpointError, IncompleteCheckpointError):
            if store.filesystem is not None:  # only a local folder has a moment without a name
                raise
    return _open_root(settled(store).confined())


def _open_root(store: Store) -> OpenComponent:
    for name in KNOWN_METADATA:
        entry = store.stat(name)
        if entry and not entry.is_dir and (opened := _open(store, name)) is not None:
            return opened
    entries = _listed(store)
    files = [entry.name for entry in entries if not entry.is_dir]
    reason = why_of_a_sweep(files)
    if reason is not None:
        raise NotACheckpointError(store.location, reason)
    others = [name for name in files if name.endswith(".json") and name not in KNOWN_METADATA]
    found = [opened for name in others if (opened := _open(store, name)) is not None]
    if len(found) == 1:
        return found[0]
    if found:  # a subcomponent's folder; only what is above it tells which one counts
        names = ", ".join(opened.metadata_file for opened in found)
        reason = (
            f"it holds parts of several saves ({names}); open the checkpoint that it is part of"
        )
        raise NotACheckpointError(store.location, reason)
    raise why_none(store, files, [entry.name for entry in entries])


def _listed(store: Store) -> list[Entry]:
    try:
        return store.list()
    except StorageError as error:
        if isinstance(error.__cause__, NotADirectoryError):
            raise NotACheckpointError(store.location, IS_A_FILE) from error
        raise


def _open(store: Store, name: str) -> OpenComponent | None:
    data = store.read_bytes(name)
    metadata = Metadata.from_json(data, store.path(name))
    return None if metadata is None else OpenComponent(store, metadata, name, len(data))


def owned_paths(store: Store) -> set[str]:
    """Return which files and folders in a folder belong to the checkpoint there, by their paths."""
    try:
        opened = open_tree(store)
    except (NotACheckpointError, IncompleteCheckpointError, CorruptDataError):
        return FileNames().all()  # nothing says what is whose: the names of our files are ours
    return {*_owned_paths(opened, "")}


def _owned_paths(opened: OpenComponent, above: str) -> Iterator[str]:
    yield from (above + name for name in opened.owned_names)
    for name, child in _children_there(opened):
        yield from _owned_paths(child, f"{above}{opened.metadata.components[name].folder}/")


def named_files(opened: OpenComponent) -> Iterator[tuple[Store, str]]:
    """Yield the files of a whole tree, each with its folder, but for the root's metadata."""
    for file in opened.metadata.files.values():
        yield opened.store, file.name
    for _, child in _children_there(opened):
        yield child.store, child.metadata_file
        yield from named_files(child)


def _children_there(opened: OpenComponent) -> Iterator[tuple[str, OpenComponent]]:
    """Yield the subcomponents that can be opened; what lies below the others is not known."""
    for name in opened.metadata.components:
        try:
            child = opened.child(name)
        except NotACheckpointError:
            continue
        except (CorruptDataError, StorageError) as error:
            if not may_be_torn(error):
                raise
            continue  # damaged, or gone meanwhile
        yield name, child
