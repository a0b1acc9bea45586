"""Files of the pickle format: no byte is unpickled before all are verified."""

from __future__ import annotations

from typing import Any

import xxhash

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats import pickle
from tune_ckpt.formats.file_format import FileFormat, ReadOptions
from tune_ckpt.formats.io import Source
from tune_ckpt.formats.packed import Buffers, Packed
from tune_ckpt.formats.parts import find_part
from tune_ckpt.formats.pickle_late import pack_late


def pack(value: Any) -> Packed:
    """Pack a value; its large arrays are referred to.

    Raises:
        UnsupportedStateError: Something in it cannot be pickled.
    """
    return Buffers(pickle.dump_parts(value))


def read_verified(source: Source, digest: str) -> memoryview:
    """Return a file's bytes, in the memory that they were read into.

    Raises:
        CorruptDataError: They have another digest.
    """
    data = memoryview(bytearray(source.nbytes))
    source.read_into(0, data)
    _check(source, xxhash.xxh3_128_hexdigest(data), digest)
    return data


def _read(source: Source, digest: str, options: ReadOptions) -> Any:
    value = _load(source, digest, options)
    return value if options.at is None else find_part(value, options.at, source.name)


def _load(source: Source, digest: str, options: ReadOptions) -> Any:
    if options.allow_pickle and source.mapped() is not None:
        # On a local disk, reading it twice is quicker than making room for all of it at once.
        _check(source, _digest(source), digest)
        return pickle.load(source)
    data, file = read_verified(source, digest), source.name
    if options.allow_pickle:
        return pickle.loads(data, file=file)
    return pickle.loads_restricted(
        data, file=file, allowed=options.allowed, tensors=options.tensors
    )


def _check(source: Source, found: str, expected: str) -> None:
    if found != expected:
        raise CorruptDataError(source.name, "it does not match its digest")


def _digest(source: Source) -> str:
    digest = xxhash.xxh3_128()
    chunk = memoryview(bytearray(min(source.chunk_nbytes, source.nbytes)))
    for offset in range(0, source.nbytes, source.chunk_nbytes):
        part = chunk[: source.nbytes - offset]
        source.read_into(offset, part)
        digest.update(part)
    return digest.hexdigest()


def _loads_inert(data: bytes, file: str) -> Any:
    return pickle.loads_inert(data, file=file)


PICKLE = FileFormat(
    suffix=".pkl",
    dialect=None,
    holds_classes=True,
    pack=pack,
    pack_late=pack_late,
    read=_read,
    digest=_digest,
    digest_in_order=_digest,
    loads_inert=_loads_inert,
)
