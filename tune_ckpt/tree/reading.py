"""Reading a component tree: no file before it is asked for, and none without being verified.

A writer may replace the checkpoint at any time. Every file is checked against what the metadata
above it says, so a reader never mixes two checkpoints: it finds that something does not fit.
`consistently` is there to begin again then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import xxhash

from tune_ckpt.errors import (
    ComponentNotFoundError,
    CorruptDataError,
    IncompleteCheckpointError,
    NotACheckpointError,
    StorageError,
)
from tune_ckpt.formats import msgpack, pickle
from tune_ckpt.formats.io import Source
from tune_ckpt.tree.commit import settled
from tune_ckpt.tree.folder import Store
from tune_ckpt.tree.layout import (
    KNOWN_METADATA,
    STATE,
    FileNames,
    FileRecord,
    Format,
    Metadata,
    role_of,
)

T = TypeVar("T")


@dataclass(frozen=True)
class ReadOptions:
    """How a checkpoint's files are read.

    Attributes:
        allow_pickle: Whether pickles may import and call what they name.
        allowed: Classes that a pickle may name all the same.
        mmap: Map arrays instead of reading them, where that is possible.
        tensors: How torch tensors come back; see `tune_ckpt.formats.msgpack.load`.
    """

    allow_pickle: bool = False
    allowed: tuple[type, ...] = ()
    mmap: bool = False
    tensors: msgpack.Tensors | None = None


@dataclass(frozen=True)
class OpenComponent:
    """One component of a checkpoint on storage.

    Attributes:
        store: Its folder.
        metadata: What its metadata file says.
        metadata_file: That file's name.
    """

    store: Store
    metadata: Metadata
    metadata_file: str

    @property
    def owned_names(self) -> set[str]:
        """The names in its folder that belong to it."""
        files = {file.name for file in self.metadata.files.values()}
        folders = {record.folder for record in self.metadata.components.values()}
        return {*files, *folders, self.metadata_file}

    def state(self, options: ReadOptions) -> Any:
        """Return the state, after a check of the component's other files too.

        Raises:
            CorruptDataError: The file is not what was written.
            UntrustedPickleError: It is a pickle that names more than harmless things.
        """
        for role, file in self.metadata.files.items():
            if role != STATE:
                check_file(self.store, file, self.metadata.format)
        return self.read(STATE, options)

    def read(self, role: str, options: ReadOptions) -> Any:
        """Return what the file of that role (one of the layout's `ROLES`) holds, verified."""
        file = self.metadata.files[role]
        return _READ[self.metadata.format](self.store, file, options)

    def raw(self, role: str) -> bytes:
        """Return the bytes of the file of that role, which is a pickle, verified."""
        return read_verified(self.store, self.metadata.files[role])

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
            raise ComponentNotFoundError(self.store.location, first, names)
        folder = self.store.child(record.folder)
        file = folder.path(record.metadata)
        if not folder.exists(record.metadata):
            raise CorruptDataError(file, "it is missing")
        child = _open(folder, record.metadata)
        if child is None or child.metadata.digest != record.digest:
            raise CorruptDataError(file, "it belongs to another checkpoint")
        return child.child(rest) if rest else child

    def is_same_as(self, other: OpenComponent) -> bool:
        """Say whether both are what one and the same writer left, at the same place."""
        same_place = self.store.location == other.store.location
        return same_place and self.metadata == other.metadata

    def children(self) -> Iterator[tuple[str, OpenComponent]]:
        """Yield the subcomponents with their names."""
        for name in self.metadata.components:
            yield name, self.child(name)


_TRIES = 50  # each after the first because a writer replaced the checkpoint meanwhile
_TRIES_TO_OPEN = 3


def consistently(store: Store, read: Callable[[OpenComponent], T]) -> T:
    """Return what ``read`` makes of a checkpoint, all of it as one writer left it.

    Args:
        store: The checkpoint's folder.
        read: Reads all that is wanted and has no other effect: where the checkpoint is replaced
            meanwhile, it is called again.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: There is none.
        CorruptDataError: A file is not what was written, though nobody replaced it.
    """
    opened = open_tree(store)
    for _ in range(_TRIES):
        try:
            return read(opened)
        except (CorruptDataError, StorageError) as error:
            if not _may_be_torn(error):
                raise
            again = open_tree(store)
            if again.is_same_as(opened):
                raise
            opened = again
    return read(opened)


def check_not_replaced(store: Store, opened: OpenComponent) -> None:
    """Check that the checkpoint at ``store`` is still the one that was opened.

    Raises:
        CorruptDataError: Another one took its place; `consistently` begins again then.
    """
    if not open_tree(store).is_same_as(opened):
        raise CorruptDataError(store.location, "it was replaced while it was being read")


def _may_be_torn(error: Exception) -> bool:
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
            if not _may_be_torn(error):
                raise
        except NotACheckpointError:
            if store.filesystem is not None:  # only a local folder has a moment without a name
                raise
    return _open_root(settled(store).confined())


def _open_root(store: Store) -> OpenComponent:
    entries = [entry.name for entry in store.list() if not entry.is_dir]
    candidates = [name for name in KNOWN_METADATA if name in entries]
    for name in candidates:
        if (opened := _open(store, name)) is not None:
            return opened
    others = [name for name in entries if name.endswith(".json") and name not in candidates]
    found = [opened for name in others if (opened := _open(store, name)) is not None]
    if len(found) == 1:
        return found[0]
    if found:  # a subcomponent's folder; only what is above it tells which one counts
        names = ", ".join(opened.metadata_file for opened in found)
        reason = (
            f"it holds parts of several saves ({names}); open the checkpoint that it is part of"
        )
        raise NotACheckpointError(store.location, reason)
    raise _nothing_there(store, bool(candidates or others))


def _open(store: Store, name: str) -> OpenComponent | None:
    metadata = Metadata.from_json(store.read_bytes(name), store.path(name))
    return None if metadata is None else OpenComponent(store, metadata, name)


def _nothing_there(store: Store, has_metadata: bool) -> Exception:
    entries = store.list()
    if not entries:
        return NotACheckpointError(store.location, "nothing is there")
    if has_metadata:
        return NotACheckpointError(store.location, "another library wrote its metadata")
    ours = {role_of(name) for name in FileNames().all()}
    if any(role_of(entry.name) in ours or "tune_ckpt-" in entry.name for entry in entries):
        return IncompleteCheckpointError(store.location)
    found = ", ".join(entry.name for entry in entries[:5])
    return NotACheckpointError(store.location, f"it holds {found}, but no metadata.json")


def _read_msgpack(store: Store, file: FileRecord, options: ReadOptions) -> Any:
    _check_size(store, file)
    with store.open(file.name) as source:
        return msgpack.load(source, mmap=options.mmap, tensors=options.tensors, digest=file.digest)


def _read_pickle(store: Store, file: FileRecord, options: ReadOptions) -> Any:
    data, path = read_verified(store, file), store.path(file.name)
    if options.allow_pickle:
        return pickle.loads(data, file=path)
    return pickle.loads_restricted(data, file=path, allowed=options.allowed)


_READ: dict[Format, Callable[[Store, FileRecord, ReadOptions], Any]] = {
    "pickle": _read_pickle,
    "msgpack": _read_msgpack,
}


def read_verified(store: Store, file: FileRecord) -> bytes:
    """Return a pickle's bytes.

    Raises:
        CorruptDataError: They are not what was written.
    """
    _check_size(store, file)
    data = store.read_bytes(file.name)
    if xxhash.xxh3_128_hexdigest(data) != file.digest:
        raise CorruptDataError(store.path(file.name), "it does not match its digest")
    return data


def _check_size(store: Store, file: FileRecord) -> None:
    path = store.path(file.name)
    entry = store.stat(file.name)
    if entry is None or entry.is_dir:
        raise CorruptDataError(path, "it is missing")
    if entry.nbytes != file.nbytes:
        raise CorruptDataError(path, f"it has {entry.nbytes} bytes instead of {file.nbytes}")


def check_file(
    store: Store,
    file: FileRecord,
    format: Format,
    watch: Callable[[Source], Source] = lambda source: source,
) -> None:
    """Check every byte of a component's file, without keeping it.

    Args:
        store: Its folder.
        file: What was committed.
        format: How it is written.
        watch: Returns what to read instead of the file's source, to see what is read.

    Raises:
        CorruptDataError: The bytes are not what was written.
        StorageError: They cannot be read.
    """
    _check_size(store, file)
    with store.open(file.name) as source:
        if _DIGEST[format](watch(source)) != file.digest:
            raise CorruptDataError(source.name, _ALTERED[format])


def _digest_of_bytes(source: Source) -> str:
    digest = xxhash.xxh3_128()
    chunk = memoryview(bytearray(min(source.chunk_nbytes, source.nbytes)))
    for offset in range(0, source.nbytes, source.chunk_nbytes):
        part = chunk[: source.nbytes - offset]
        source.read_into(offset, part)
        digest.update(part)
    return digest.hexdigest()


_DIGEST: dict[Format, Callable[[Source], str]] = {
    "pickle": _digest_of_bytes,
    "msgpack": msgpack.verify,
}
_ALTERED: dict[Format, str] = {
    "pickle": "it does not match its digest",
    "msgpack": "it is not the document that was committed",
}


def owned_names(store: Store) -> Collection[str]:
    """Return the names in a folder that belong to the checkpoint in it."""
    try:
        opened = open_tree(store)
    except (NotACheckpointError, IncompleteCheckpointError, CorruptDataError):
        return FileNames().all()  # nothing says what is whose: the names of our files are ours
    return opened.owned_names


def tree_files(opened: OpenComponent) -> Iterator[tuple[Store, str]]:
    """Yield the files of a whole tree, each with its folder, but for the root's metadata.

    What lies below a subcomponent that cannot be opened is not known, and passed over.
    """
    for file in opened.metadata.files.values():
        yield opened.store, file.name
    for name in opened.metadata.components:
        try:
            child = opened.child(name)
        except (CorruptDataError, NotACheckpointError):
            continue
        yield child.store, child.metadata_file
        yield from tree_files(child)
