"""The inert record of something that a pickle names."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Opaque:
    """Something that a pickle names and that was left alone, with everything done to it.

    Attributes:
        module: The module that the pickle names.
        name: The (dotted) name in it. The result of calling another result is named after that
            one with ``()`` at the end, and has it as its first argument.
        args: What it was made with; None for the class or function itself, not called.
        kwargs: Likewise, by name.
        state: What its ``__setstate__`` or ``__dict__`` would have received; None without.
        items: What was appended or added to it.
        pairs: The ``(key, value)`` that were set in it.
    """

    module: str
    name: str
    args: tuple[Any, ...] | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def __call__(self, *args: Any, **kwargs: Any) -> Opaque:
        """Record one more call, so that this may stand where a callable is expected."""
        return Opaque(self.module, f"{self.name}()", (self, *args), kwargs)

    def __repr__(self) -> str:
        return f"<opaque {self.module}:{self.name}>"


def holds_opaque(value: object) -> bool:
    """Say whether there is an `Opaque` in nested containers."""
    seen, waiting = set(), [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Opaque):
            return True
        if id(part) not in seen:
            seen.add(id(part))
            waiting += _parts(part)
    return False


def _parts(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return list(value.ravel().tolist())
    return []
