"""The pickler: cloudpickle's, which takes torch's tensors from host memory; and where it writes."""

from __future__ import annotations

import sys
from pickle import PickleBuffer
from typing import Any

import cloudpickle


class HostPickler(cloudpickle.Pickler):  # type: ignore[misc]  # it ships no types
    """Pickles classes and functions of ``__main__`` by value, and no device into tensors."""

    def reducer_override(self, value: Any) -> Any:
        """Return how a value is pickled, or that it is as usual."""
        torch: Any = sys.modules.get("torch")
        if torch is None or not isinstance(value, torch.Tensor):
            return super().reducer_override(value)
        if value.device.type in ("cpu", "meta"):
            return NotImplemented
        host = value.detach().cpu()
        if isinstance(value, torch.nn.Parameter):
            return torch.nn.Parameter(host, value.requires_grad).__reduce_ex__(5)
        return host.requires_grad_(value.requires_grad).__reduce_ex__(5)


class Parts:
    """What a pickler writes, in order: large arrays as they are in memory, not copied.

    Attributes:
        parts: What was written.
    """

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []

    def write(self, part: Any) -> None:
        """Keep a part; the pickler's own buffers, which it reuses, are copied."""
        self.parts.append(part.raw() if isinstance(part, PickleBuffer) else bytes(part))
