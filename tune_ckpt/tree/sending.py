"""A packed component tree as plain bytes, which another process can be given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tune_ckpt.formats.io import BytesSink
from tune_ckpt.formats.packed import Buffers, Packed
from tune_ckpt.tree.packing import PackedComponent


def sendable(packed: PackedComponent) -> PackedComponent:
    """Return the same tree, with copies of what its files refer to."""
    files: dict[str, Packed] = {role: _Sendable(file) for role, file in packed.files.items()}
    components = {name: sendable(child) for name, child in packed.components.items()}
    return replace(packed, files=files, components=components)


class _Sendable(Buffers):
    def __init__(self, file: Packed) -> None:
        sink = BytesSink(file.nbytes)
        digest = file.write(sink)
        self._array = np.frombuffer(sink.buffer, np.uint8)  # Ray copies no array
        super().__init__([self._array.data], digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self._array, self.digest())


def _received(array: Any, digest: str) -> Buffers:
    return Buffers([array.data], digest)
