"""A state to one msgpack document and back, exactly (the typed dialect): the public face.

FORMAT.md, beside this file, specifies what a document looks like.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tune_ckpt.errors import CorruptDataError, Fault, UnsupportedStateError
from tune_ckpt.formats.document import Document, in_threads
from tune_ckpt.formats.document_reading import check_blob, read_head
from tune_ckpt.formats.inert import Tree
from tune_ckpt.formats.io import BytesSink, BytesSource, Source
from tune_ckpt.formats.making import make, part_of
from tune_ckpt.formats.packing import pack_fast
from tune_ckpt.formats.unpacking import MALFORMED, Tensors, Unpacking
from tune_ckpt.formats.walking import Walk

__all__ = ["Tensors", "check", "dumps", "load", "loads", "pack", "verify"]


def pack(state: Any) -> Document:
    """Pack a state; its arrays are referred to, not copied.

    Raises:
        UnsupportedStateError: It holds values that could not be brought back; all are listed.
    """
    packed = pack_fast(state)
    if packed is not None:
        return Document(*packed)
    walk = Walk(state)
    if walk.faults:
        raise UnsupportedStateError(tuple(walk.faults))
    return Document(walk.packed(), walk.blobs)


def dumps(state: Any) -> bytes:
    """Return a state as one document in memory.

    Raises:
        UnsupportedStateError: It holds values that could not be brought back; all are listed.
    """
    document = pack(state)
    sink = BytesSink(document.nbytes)
    document.write(sink)
    return bytes(sink.buffer)


def check(state: Any) -> list[Fault]:
    """List what of a state could not be brought back, each with its path and the reason.

    >>> print(*check({"step": 3, "schedule": lambda step: 0.1}))
    schedule: function __main__.<lambda> cannot be imported by its name

    Args:
        state: What `tune_ckpt.save_state` would be given.

    Returns:
        Nothing where it can be saved as msgpack.
    """
    return [] if pack_fast(state) is not None else Walk(state).faults


def load(
    source: Source,
    *,
    at: str | None = None,
    mmap: bool = False,
    tensors: Tensors | None = None,
    digest: str | None = None,
) -> Any:
    """Return the state that a document holds, every byte of it verified.

    Nothing is imported, called or constructed but the types of the table.

    Args:
        source: The document.
        at: Return only this part of the state, reading only what it needs: a path through dicts'
            keys and lists' indices, like ``optimizer/state/0``.
        mmap: Map the arrays instead of reading them, where the source can be mapped: takes no time
            and no memory until they are touched, copies what is written to, and does not verify the
            arrays' bytes.
        tensors: How torch tensors come back: as such, or as NumPy arrays. By default, as tensors
            where torch is installed. With ``"numpy"``, jax arrays come back as such too.
        digest: The document's expected digest.

    Raises:
        CorruptDataError: The bytes are not what was written.
        MissingDependencyError: A value needs a package that is not installed.
        PartNotFoundError: There is no part ``at``.
    """
    head = read_head(source)
    if digest is not None and digest != head.digest:
        raise CorruptDataError(source.name, "it is not the document that was committed", 0)
    if at is not None:
        tree = Tree(source, head)
        return make(tree, part_of(tree, at), tensors=tensors, mmap=mmap)
    try:
        return Unpacking(source, head, tensors, mmap=mmap).state()
    except MALFORMED as error:
        tree = Tree(source, head)
        make(tree, tree.state, tensors=tensors, mmap=mmap)  # fails again, and knows where
        raise tree.fault((), error) from error


def loads(data: bytes | bytearray | memoryview, **options: Any) -> Any:
    """Return the state that a document in memory holds; the options are those of `load`."""
    return load(BytesSource(data), **options)


def verify(source: Source, *, in_order: bool = False) -> str:
    """Check every byte of a document and return its digest; needs no memory for the arrays.

    Args:
        source: The document.
        in_order: Read it from its beginning to its end, in one thread.

    Raises:
        CorruptDataError: The bytes are not what was written.
    """
    head = read_head(source)
    nbytes = 0 if in_order else source.nbytes  # how much would be worth threads
    in_threads(partial(check_blob, source, head), range(len(head.blobs)), nbytes)
    return head.digest
