"""A packed component tree as plain bytes, which another process can be given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.formats.io import Sink
from tune_ckpt.tree.packing import Packed, PackedComponent


def sendable(packed: PackedComponent) -> PackedComponent:
    """Return the same tree, with copies of what its files refer to."""
    files: dict[str, Packed] = {role: _Bytes.of(file) for role, file in packed.files.items()}
    components = {name: sendable(child) for name, child in packed.components.items()}
    return replace(packed, files=files, components=components)


@dataclass(frozen=True)
class _Bytes:
    data: npt.NDArray[np.uint8]  # which Ray sends without copying it
    known_digest: str

    @classmethod
    def of(cls, file: Packed) -> _Bytes:
        sink = _Collecting(file.nbytes)
        digest = file.write(sink)
        return cls(sink.data, digest)

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def digest(self) -> str:
        return self.known_digest

    def write(self, sink: Sink) -> str:
        sink.write_at(0, self.data.data)
        return self.known_digest


class _Collecting:
    random_access = True

    def __init__(self, nbytes: int) -> None:
        self.data = np.empty(nbytes, np.uint8)

    def write_at(self, offset: int, buffer: Any) -> None:
        self.data[offset : offset + len(buffer)] = np.frombuffer(buffer, np.uint8)
