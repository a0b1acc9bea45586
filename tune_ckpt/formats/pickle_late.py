"""A pickle whose arrays were lifted out: it is made when it is wanted, over copies of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tune_ckpt.formats.io import Sink
from tune_ckpt.formats.packed import Buffers, Packed, Referring
from tune_ckpt.formats.pickle import dump_parts
from tune_ckpt.formats.pickle_lifted import Rebuild, drop, lift


def pack_late(value: Any) -> Packed:
    """Pack a value for a snapshot: what it refers to can be exchanged for copies.

    Raises:
        UnsupportedStateError: Something in it cannot be pickled.
    """
    data, lifted = lift(value)
    if not lifted:
        return Buffers([data])
    return _LatePickle(data, [one.rebuild for one in lifted], [one.memory for one in lifted])


class _LatePickle(Referring):
    def __init__(
        self, data: bytes, rebuild: Sequence[Rebuild], blobs: Sequence[memoryview]
    ) -> None:
        self.blobs = blobs
        self._data = data
        self._rebuild = rebuild

    def over(self, blobs: Sequence[memoryview]) -> _LatePickle:
        """Return the same pickle over copies of what it refers to."""
        return _LatePickle(self._data, self._rebuild, blobs)

    @cached_property
    def _made(self) -> Packed:
        parts = [make(blob) for make, blob in zip(self._rebuild, self.blobs, strict=True)]
        return Buffers(dump_parts(drop(self._data, parts)))

    @property
    def nbytes(self) -> int:
        """The pickle's size, for which it is made."""
        return self._made.nbytes

    def digest(self) -> str:
        """Return the pickle's digest."""
        return self._made.digest()

    def write(self, sink: Sink) -> str:
        """Write the pickle, and return its digest."""
        return self._made.write(sink)
