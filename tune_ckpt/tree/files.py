"""Reading and checking one file of a component: no byte is believed before it is verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xxhash

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats import msgpack, pickle
from tune_ckpt.formats.io import Source
from tune_ckpt.formats.parts import find_part
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.metadata import FileRecord
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.local import LocalStore


@dataclass(frozen=True)
class ReadOptions:
    """How a checkpoint's files are read.

    Attributes:
        allow_pickle: Whether pickles may import and call what they name.
        allowed: Classes that a pickle may name all the same, by those names.
        mmap: Map arrays instead of reading them, where that is possible.
        tensors: How torch tensors come back; see `tune_ckpt.formats.msgpack.load`.
        at: Which part is wanted; by default all of it.
    """

    allow_pickle: bool = False
    allowed: Mapping[str, type] = field(default_factory=dict)
    mmap: bool = False
    tensors: msgpack.Tensors | None = None
    at: str | None = None


def read_file(store: Store, file: FileRecord, format: Format, options: ReadOptions) -> Any:
    """Return what a component's file holds.

    Raises:
        CorruptDataError: It is not what was written.
        UntrustedPickleError: It is a pickle that names more than harmless things.
        PickleReadError: It is a trusted pickle that cannot be read here.
        PartNotFoundError: It has no part ``options.at``.
    """
    return _READ[format](store, file, options)


def _read_msgpack(store: Store, file: FileRecord, options: ReadOptions) -> Any:
    check_size(store, file)
    with store.open(file.name) as source:
        return msgpack.load(
            source,
            at=options.at,
            mmap=options.mmap,
            tensors=options.tensors,
            digest=file.digest,
        )


def _read_pickle(store: Store, file: FileRecord, options: ReadOptions) -> Any:
    value = _unpickled(store, file, options)
    return value if options.at is None else find_part(value, options.at, store.path(file.name))


def _unpickled(store: Store, file: FileRecord, options: ReadOptions) -> Any:
    if options.allow_pickle and isinstance(store, LocalStore):
        check_size(store, file)
        with store.open(file.name) as source:
            # Reading it twice is quicker than making room for all of it at once.
            _check_digest(source, file, "pickle")
            return pickle.load(source)
    data, path = read_verified(store, file), store.path(file.name)
    if options.allow_pickle:
        return pickle.loads(data, file=path)
    return pickle.loads_restricted(
        data, file=path, allowed=options.allowed, tensors=options.tensors
    )


_READ: dict[Format, Callable[[Store, FileRecord, ReadOptions], Any]] = {
    "pickle": _read_pickle,
    "msgpack": _read_msgpack,
}


def read_verified(store: Store, file: FileRecord) -> memoryview:
    """Return a pickle's bytes, in the memory that they were read into.

    Raises:
        CorruptDataError: They are not what was written.
    """
    check_size(store, file)
    with store.open(file.name) as source:
        data = memoryview(bytearray(source.nbytes))
        source.read_into(0, data)
    if xxhash.xxh3_128_hexdigest(data) != file.digest:
        raise CorruptDataError(store.path(file.name), "it does not match its digest")
    return data


def check_size(store: Store, file: FileRecord) -> None:
    """Check that a component's file is there, and as large as it was.

    Raises:
        CorruptDataError: It is not.
    """
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
    check_size(store, file)
    with store.open(file.name) as source:
        _check_digest(watch(source), file, format)


def _check_digest(source: Source, file: FileRecord, format: Format) -> None:
    if _DIGEST[format](source) != file.digest:
        raise CorruptDataError(source.name, _ALTERED[format])


def digest_of_bytes(source: Source) -> str:
    """Return the digest of all bytes of a source, read in order and by chunks."""
    digest = xxhash.xxh3_128()
    chunk = memoryview(bytearray(min(source.chunk_nbytes, source.nbytes)))
    for offset in range(0, source.nbytes, source.chunk_nbytes):
        part = chunk[: source.nbytes - offset]
        source.read_into(offset, part)
        digest.update(part)
    return digest.hexdigest()


_DIGEST: dict[Format, Callable[[Source], str]] = {
    "pickle": digest_of_bytes,
    "msgpack": msgpack.verify,
}
_ALTERED: dict[Format, str] = {
    "pickle": "it does not match its digest",
    "msgpack": "it is not the document that was committed",
}
