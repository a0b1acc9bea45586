"""Reading and checking one file of a component: no byte is believed before it is verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.formats.io import Source
from tune_ckpt.tree.layout import FORMATS, Format
from tune_ckpt.tree.metadata import FileRecord
from tune_ckpt.tree.storage.folder import Store


def read_file(store: Store, file: FileRecord, format: Format, options: ReadOptions) -> Any:
    """Return what a component's file holds.

    Raises:
        CorruptDataError: It is not what was written.
        UntrustedPickleError: It is a pickle that names more than harmless things.
        PickleReadError: It is a trusted pickle that cannot be read here.
        PartNotFoundError: It has no part ``options.at``.
    """
    check_size(store, file)
    with store.open(file.name) as source:
        return FORMATS[format].read(source, file.digest, options)


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
        check_digest(FORMATS[format].digest(watch(source)), file, source.name)


def check_digest(found: str, file: FileRecord, path: str) -> None:
    """Check the digest of a component's file.

    Raises:
        CorruptDataError: It is not what was committed.
    """
    if found != file.digest:
        raise CorruptDataError(path, "it is not the file that was committed")
