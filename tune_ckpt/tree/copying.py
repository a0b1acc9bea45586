"""A tree's files, one by one, each verified while it is copied; others' files, as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.io import Sink, Source
from tune_ckpt.tree.files import check_digest, check_size
from tune_ckpt.tree.layout import FORMATS, Format
from tune_ckpt.tree.metadata import FileRecord, Metadata
from tune_ckpt.tree.packing import PackedComponent
from tune_ckpt.tree.reading import OpenComponent
from tune_ckpt.tree.staging import filling
from tune_ckpt.tree.storage.folder import Store


@dataclass(frozen=True)
class TreeFile:
    """One file of a tree.

    Attributes:
        folder: The component's folder, from the root.
        name: The file's name.
        nbytes: Its size.
        copy: Puts its bytes into a sink, in order, and raises `CorruptDataError` where they are
            not what was written.
    """

    folder: tuple[str, ...]
    name: str
    nbytes: int
    copy: Callable[[Sink], None]

    @property
    def path(self) -> str:
        """Its path from the root, ``/`` between levels."""
        return "/".join((*self.folder, self.name))


def tree_files(opened: OpenComponent, folder: tuple[str, ...] = ()) -> Iterator[TreeFile]:
    """Yield the files of a tree, a folder's metadata after all else in it.

    Files that do not belong to the tree are left out.

    Raises:
        CorruptDataError: A subcomponent is not the one that was saved.
    """
    store, metadata = opened.store, opened.metadata
    for file in metadata.files.values():
        copy = partial(_copy, store, file, metadata.format)
        yield TreeFile(folder, file.name, file.nbytes, copy)
    for name, child in opened.children():
        yield from tree_files(child, (*folder, metadata.components[name].folder))
    data = _metadata_bytes(opened)
    yield TreeFile(folder, opened.metadata_file, len(data), partial(_put, data))


def to_be_copied(opened: OpenComponent) -> PackedComponent:
    """Return a tree that can be written again, its files verified while they are copied."""
    store, metadata = opened.store, opened.metadata
    return PackedComponent(
        metadata.cls,
        metadata.format,
        {r: _Copied(store, file, metadata.format) for r, file in metadata.files.items()},
        {name: to_be_copied(child) for name, child in opened.children()},
        metadata.facts,
        metadata.extra,
        metadata.names(opened.metadata_file),
    )


@dataclass(frozen=True)
class _Copied:
    store: Store
    file: FileRecord
    format: Format

    @property
    def nbytes(self) -> int:
        """The file's size."""
        return self.file.nbytes

    def digest(self) -> str:
        """Return the digest that its metadata tells; copying checks it."""
        return self.file.digest

    def write(self, sink: Sink) -> str:
        """Copy the file, and return its digest."""
        _copy(self.store, self.file, self.format, sink)
        return self.file.digest


def copy_folder(source: Store, target: Store) -> None:
    """Copy a folder whose files nobody can verify; on a local disk all of it or nothing.

    Args:
        source: The folder.
        target: Where the copy is to be; nothing is there yet.

    Raises:
        StorageError: The storage refuses.
    """
    with filling(target) as store:
        copy_files(source, store)


def copy_files(source: Store, target: Store) -> None:
    """Copy a folder's files as they are, one by one, and those of all folders below."""
    target.make()
    for entry in source.list():
        if entry.is_dir:
            copy_files(source.child(entry.name), target.child(entry.name))
        else:
            with source.open(entry.name) as file, target.create(entry.name, file.nbytes) as sink:
                for start in range(0, file.nbytes, file.chunk_nbytes):
                    chunk = memoryview(bytearray(min(file.chunk_nbytes, file.nbytes - start)))
                    file.read_into(start, chunk)
                    sink.write_at(start, chunk)


def _metadata_bytes(opened: OpenComponent) -> bytes:
    path = opened.store.path(opened.metadata_file)
    data = opened.store.read_bytes(opened.metadata_file)
    if Metadata.from_json(data, path) != opened.metadata:
        raise CorruptDataError(path, "it changed while it was read")
    return data


def _put(data: bytes, sink: Sink) -> None:
    sink.write_at(0, data)


class _Tee:
    """A source that puts what is read of it into a sink: once, in order, and wholly."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self._position = 0
        self.name = source.name
        self.nbytes = source.nbytes
        self.chunk_nbytes = source.chunk_nbytes

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        """Fill buffers, and put what is new of it into the sink."""
        if offset > self._position:
            self.pass_on(offset)
        self._source.read_into(offset, *buffers)
        for buffer in buffers:
            fresh = buffer[self._position - offset :]
            if fresh.nbytes:
                self._sink.write_at(self._position, fresh)
                self._position += fresh.nbytes
            offset += buffer.nbytes

    def pass_on(self, end: int) -> None:
        """Copy what was not read up to ``end``."""
        while self._position < end:
            nbytes = min(self.chunk_nbytes, end - self._position)
            self.read_into(self._position, memoryview(bytearray(nbytes)))

    def mapped(self) -> memoryview | None:
        """Return None: what is mapped is not read, and so would not be copied."""
        return None


def _copy(store: Store, file: FileRecord, format: Format, sink: Sink) -> None:
    check_size(store, file)
    with store.open(file.name) as source:
        tee = _Tee(source, sink)
        check_digest(FORMATS[format].digest_in_order(tee), file, source.name)
        tee.pass_on(file.nbytes)
