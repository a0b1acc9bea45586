"""Reading a component tree: no file before it is asked for, and none without being verified."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import xxhash

from tune_ckpt.errors import (
    ComponentNotFoundError,
    CorruptDataError,
    IncompleteCheckpointError,
    NotACheckpointError,
)
from tune_ckpt.formats import msgpack, pickle
from tune_ckpt.formats.io import Source
from tune_ckpt.tree.commit import settled
from tune_ckpt.tree.folder import Store
from tune_ckpt.tree.layout import (
    CTOR,
    KNOWN_METADATA,
    STATE,
    SUFFIXES,
    FileNames,
    FileRecord,
    Format,
    Metadata,
)


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
        """Return what the file of that role (`STATE` or `CTOR`) holds, verified."""
        file = self.metadata.files[role]
        return _READ[self.metadata.format](self.store, file, options)

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
        child = _open(folder, (record.metadata,))
        if child.metadata.digest != record.digest:
            raise CorruptDataError(file, "it belongs to another checkpoint")
        return child.child(rest) if rest else child

    def children(self) -> Iterator[tuple[str, OpenComponent]]:
        """Yield the subcomponents with their names."""
        for name in self.metadata.components:
            yield name, self.child(name)


def open_tree(store: Store) -> OpenComponent:
    """Open the checkpoint in a folder.

    Raises:
        NotACheckpointError: There is none.
        IncompleteCheckpointError: There is the beginning of one.
        CorruptDataError: Its metadata is not what was written.
    """
    store = settled(store)
    entries = [entry.name for entry in store.list() if not entry.is_dir]
    others = [name for name in entries if name.endswith(".json") and name not in KNOWN_METADATA]
    candidates = [name for name in (*KNOWN_METADATA, *others) if name in entries]
    return _open(store, tuple(candidates))


def _open(store: Store, candidates: tuple[str, ...]) -> OpenComponent:
    for name in candidates:
        if store.exists(name):
            metadata = Metadata.from_json(store.read_bytes(name), store.path(name))
            if metadata is not None:
                return OpenComponent(store, metadata, name)
    raise _nothing_there(store, candidates)


def _nothing_there(store: Store, candidates: tuple[str, ...]) -> Exception:
    entries = store.list()
    if not entries:
        return NotACheckpointError(store.location, "nothing is there")
    if any(store.exists(name) for name in candidates):
        return NotACheckpointError(store.location, "another library wrote its metadata")
    names = FileNames()
    ours = {names.file(role, format) for role in (STATE, CTOR) for format in SUFFIXES}
    if any(entry.name in ours or "tune_ckpt-" in entry.name for entry in entries):
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
        names = FileNames()  # nothing says what is whose: the names of our files are ours
        return {names.file(role, f) for role in (STATE, CTOR) for f in SUFFIXES} | {names.metadata}
    return opened.owned_names
