"""Files of the msgpack format: ours are documents of the typed dialect."""

from __future__ import annotations

from functools import partial
from typing import Any

from tune_ckpt.formats import msgpack, rllib_dialect
from tune_ckpt.formats.file_format import FileFormat, ReadOptions
from tune_ckpt.formats.io import BytesSource, Source


def _read(source: Source, digest: str, options: ReadOptions) -> Any:
    return msgpack.load(
        source, at=options.at, mmap=options.mmap, tensors=options.tensors, digest=digest
    )


def _loads_inert(data: bytes, file: str) -> Any:
    return rllib_dialect.load(BytesSource(data, file))


MSGPACK = FileFormat(
    suffix=".msgpack",
    dialect="typed",
    holds_classes=False,
    pack=msgpack.pack,
    pack_late=msgpack.pack,
    read=_read,
    digest=msgpack.verify,
    digest_in_order=partial(msgpack.verify, in_order=True),
    loads_inert=_loads_inert,
)
