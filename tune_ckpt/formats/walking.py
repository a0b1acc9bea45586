"""The slow walk: packs a state in Python, and knows the path of every value.

It writes what the fast way cannot, and lists all that cannot be written at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count, repeat
from typing import Any, NamedTuple

from msgpack import ExtType

from tune_ckpt.errors import Fault
from tune_ckpt.formats.extensions import row_of
from tune_ckpt.formats.packing import UNWRITABLE, Packing
from tune_ckpt.formats.parts import path_of
from tune_ckpt.formats.wire import Packer

MAX_DEPTH = 1000  # msgpack's readers stop at 1024
_MAX_LENGTH = 2**32 - 1
_NATIVE = {type(None), bool, float, str, bytes}

Child = tuple[Any, Any]  # a step of a path (None for none), and the value there


class _Level(NamedTuple):
    step: Any
    value: Any
    children: Iterator[Child]


class Walk:
    """Packs one state.

    Attributes:
        faults: What cannot be written, each with its path.
        blobs: The memory of the larger arrays, in order.
    """

    def __init__(self, state: Any) -> None:
        self.faults: list[Fault] = []
        self._packing = Packing(slow=True)
        self._packer = Packer(autoreset=False)
        self._levels: list[_Level] = []
        self._open: set[int] = set()
        self._walked: dict[int, Any] | None = None
        self._walk(state)

    @property
    def blobs(self) -> list[memoryview]:
        """The memory of the larger arrays, in order."""
        return self._packing.blobs

    def packed(self) -> bytes:
        """Return the state as msgpack bytes; good only where there are no faults."""
        packed: bytes = self._packer.bytes()
        return packed

    def _walk(self, state: Any) -> None:
        # With a stack of its own: Python's is too short for what msgpack can hold.
        self._visit(None, state)
        while self._levels:
            level = self._levels[-1]
            child = next(level.children, None)
            if child is None:
                self._levels.pop()
                self._open.discard(id(level.value))
            else:
                self._visit(*child)

    def _visit(self, step: Any, value: Any) -> None:
        kind = type(value)
        if kind in _NATIVE or (kind is int and -(2**63) <= value < 2**64):
            self._pack_native(step, value)
        elif id(value) in self._open:
            self._fault(step, "it contains itself")
            self._walked = self._walked or {}
        elif len(self._levels) >= MAX_DEPTH:
            self._fault(step, f"it is nested more than {MAX_DEPTH} levels deep")
        elif self._walked is None or id(value) not in self._walked:
            self._enter(step, value)

    def _enter(self, step: Any, value: Any) -> None:
        children = self._children(step, value)
        if children is not None:
            self._levels.append(_Level(step, value, children))
            self._open.add(id(value))
        if self._walked is not None:
            # Once there is a cycle there may be many: each container is walked once from now on.
            self._walked[id(value)] = value

    def _children(self, step: Any, value: Any) -> Iterator[Child] | None:
        kind = type(value)
        if kind is dict:
            self._packer.pack_map_header(len(value))
            return chain.from_iterable(map(_entry, list(value.items())))
        if kind is list:
            self._packer.pack_array_header(len(value))
            return zip(self._steps(value), value, strict=False)
        try:
            written = self._packing.default(value)
        except UNWRITABLE as error:
            self._fault(step, str(error) or type(error).__name__)
            return None
        if isinstance(written, ExtType):
            self._packer.pack_ext_type(*written)
            return None
        tag, *parts = written
        self._packer.pack_array_header(1 + len(parts))
        self._packer.pack_ext_type(*tag)
        row = row_of(kind)
        numbered = row is not None and row.parts_are_items
        return zip(count() if numbered else repeat(None), parts, strict=False)

    def _steps(self, items: list[Any]) -> Iterable[Any]:
        return self._packing.steps.get(id(items)) or count()

    def _pack_native(self, step: Any, value: Any) -> None:
        try:
            if isinstance(value, str | bytes) and len(value) > _MAX_LENGTH:
                raise ValueError("it is longer than 4 GiB")
            self._packer.pack(value)
        except UnicodeEncodeError:
            reason = "this text has lone surrogates, which UTF-8 cannot express"
            self._fault(step, reason)
        except ValueError as error:
            self._fault(step, str(error))

    def _fault(self, step: Any, reason: str) -> None:
        steps = [*(level.step for level in self._levels), step]
        if len(steps) > MAX_DEPTH:
            steps = [*steps[:8], "..."]
        self.faults.append(Fault(path_of(steps), reason))


def _entry(item: tuple[Any, Any]) -> tuple[Child, Child]:
    key, value = item
    step = "None" if key is None else key
    return (step, key), (step, value)
