"""A packed component tree as plain bytes, which another process can be given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tune_ckpt.formats.io import BytesSink
from tune_ckpt.tree.packing import Packed, PackedComponent, Plain


def sendable(packed: PackedComponent) -> PackedComponent:
    """Return the same tree, with copies of what its files refer to."""
    files: dict[str, Packed] = {role: _Sendable.of(file) for role, file in packed.files.items()}
    components = {name: sendable(child) for name, child in packed.components.items()}
    return replace(packed, files=files, components=components)


class _Sendable(Plain):
    @classmethod
    def of(cls, file: Packed) -> _Sendable:
        """Return the bytes that a file will have."""
        sink = BytesSink(file.nbytes)
        digest = file.write(sink)
        return cls(memoryview(sink.buffer), digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (np.frombuffer(self._data, np.uint8), self._digest)  # Ray copies no array


def _received(data: Any, digest: str) -> Plain:
    return Plain(data.data, digest)
