"""What a format of files has to tell: one `FileFormat` each, in a small module of its own.

The table of them is `tune_ckpt.tree.layout.FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.formats.io import Source
from tune_ckpt.formats.packed import Packed
from tune_ckpt.formats.unpacking import Tensors


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read.

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
    tensors: Tensors | None = None
    at: str | None = None


@dataclass(frozen=True)
class FileFormat:
    """One format of a component's files.

    Attributes:
        suffix: How the files' names end.
        dialect: What the metadata says of how the format is written; None for nothing.
        holds_classes: Whether a class is written as what it is, and not by its name.
        pack: Packs a value; raises `UnsupportedStateError` with all that could not be brought back.
        pack_late: The same for a snapshot: what it refers to can be exchanged (`Referring`).
        read: Returns what a file holds, whose digest is given, every byte of it verified.
        digest: Returns a file's digest; raises `CorruptDataError` where it can tell more.
        digest_in_order: The same, reading it from its beginning to its end.
        loads_inert: Returns what bytes hold, with nothing imported, called or constructed; also of
            another library's file. The file's path is for messages.
    """

    suffix: str
    dialect: str | None
    holds_classes: bool
    pack: Callable[[Any], Packed]
    pack_late: Callable[[Any], Packed]
    read: Callable[[Source, str, ReadOptions], Any]
    digest: Callable[[Source], str]
    digest_in_order: Callable[[Source], str]
    loads_inert: Callable[[bytes, str], Any]
