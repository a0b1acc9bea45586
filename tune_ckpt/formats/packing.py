"""A state to msgpack bytes and blobs: msgpack's own packer walks it, at C speed.

Our hook sees only the values that msgpack lacks. Where that fails, or where a value would pass for
another type unnoticed, the slow walk of `tune_ckpt.formats.walking` does the same in Python.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from msgpack import ExtType

from tune_ckpt.formats import array_kinds, arrays, containers, names, random_states, scalars
from tune_ckpt.formats.disguised import holds_disguised, may_hold_disguised
from tune_ckpt.formats.dtypes import encode_dtype, unused_bytes
from tune_ckpt.formats.extensions import Refused, Row, container_types, row_of, why_refused
from tune_ckpt.formats.short_form import shortened
from tune_ckpt.formats.wire import packb

INLINE_NBYTES = 1024  # arrays up to this size stand in the tree itself
SHARED = 100  # the ext code of a second name for an earlier value

TABLE = array_kinds, containers, names, random_states, scalars  # being imported, they fill it
_CONTAINERS = container_types()
# What a value may raise while it is written.
UNWRITABLE = (
    Refused,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,  # and RecursionError
    TypeError,
    ValueError,
)
_SHARED_TAG = ExtType(SHARED, b"")


class Packing:
    """What is known while one state is packed; handed to each row's ``write``.

    Args:
        slow: Whether the slow walk does it.
        for_key: Whether only the bytes are wanted that order a set's members.

    Attributes:
        blobs: The memory of the larger arrays, in order.
        guarded: The lists of values that rows took out of their objects.
        steps: What to call the items of a list in messages, by the list's id.
        asked: Whether the packer asked the hook at all.
    """

    def __init__(self, *, slow: bool = False, for_key: bool = False) -> None:
        self.blobs: list[memoryview] = []
        self.guarded: list[list[Any]] = []
        self.steps: dict[int, Iterable[str]] = {}
        self.asked = False
        self._slow = slow
        self._for_key = for_key
        self._dtypes: dict[int, tuple[Any, Any, np.dtype[Any]]] = {}
        self._numbers: dict[Hashable, int] = {}
        self._members: dict[int, list[Any]] = {}
        self._kept: list[Any] = []  # an identity is only good while its owner lives

    def default(self, value: Any) -> list[Any] | ExtType:
        """Return what stands for a value that msgpack lacks: the packer's hook."""
        self.asked = True
        row = row_of(type(value))
        if row is None:
            raise Refused(why_refused(type(value)))
        if row.identity is None:
            return self._written(row, value)
        number = self._numbers.setdefault((row.code, row.identity(value)), len(self._kept))
        if number < len(self._kept):
            return self._again(value, number)
        self._kept.append(value)
        if self._for_key:
            raise Refused(f"a set with a {row.name} in it has no order")
        return self._written(row, value)

    def _written(self, row: Row, value: Any) -> list[Any] | ExtType:
        parts = row.write(value, self)
        short = shortened(row.code, parts) if row.is_array else None
        return [row.tag, *parts] if short is None else short

    def _again(self, value: Any, number: int) -> list[Any]:
        if not self._slow and getattr(getattr(value, "dtype", None), "hasobject", False):
            raise Refused("an array that may contain itself: only the slow walk can tell")
        return [_SHARED_TAG, number]

    def dtype(self, dtype: np.dtype[Any]) -> tuple[Any, Any]:
        """Return what stands for a dtype in the tree, and which bytes of an element are unused."""
        # By its id: dtypes that count as equal may differ in what is written.
        known = self._dtypes.get(id(dtype))
        if known is None:
            known = encode_dtype(dtype), unused_bytes(dtype), dtype
            self._dtypes[id(dtype)] = known
        return known[:2]

    def array_data(self, straight: arrays.Array) -> bytes | int:
        """Return what stands for a C-contiguous array's bytes: themselves, or a blob's number."""
        if straight.nbytes <= INLINE_NBYTES:
            return straight.tobytes()
        self.blobs.append(arrays.raw_bytes(straight))
        return len(self.blobs) - 1

    def guard(self, values: list[Any], steps: Iterable[str] = ()) -> list[Any]:
        """Return values that a row took out of its object, to be looked at for disguised ones.

        Args:
            values: The values.
            steps: What to call each in messages, instead of its index.
        """
        self.guarded.append(values)
        if self._slow:
            self.steps[id(values)] = steps
        return values

    def sorted_members(self, members: Any) -> list[Any]:
        """Return the members of a set in an order that is the same in every run."""
        known = self._members.get(id(members))
        if known is None:
            inner = Packing(for_key=True)
            inner.guarded = self.guarded
            inner._members = self._members  # else the work doubles with every level of sets
            known = sorted(members, key=lambda member: _pack(member, inner))
            self._members[id(members)] = known
        return known


def _pack(value: Any, packing: Packing) -> bytes:
    return packb(value, default=packing.default, strict_types=True)


def pack_fast(state: Any) -> tuple[bytes, list[memoryview]] | None:
    """Return a state as msgpack bytes and blobs, or None where only the slow walk can tell."""
    packing = Packing()
    try:
        packed = _pack(state, packing)
    except UNWRITABLE:
        return None
    if packing.asked:
        disguised = holds_disguised([state, *packing.guarded], _CONTAINERS)
    else:
        disguised = may_hold_disguised(packed) and holds_disguised([state], _CONTAINERS)
    if disguised:
        return None
    return packed, packing.blobs


def same_bytes(first: Any, second: Any) -> bool:
    """Return whether two values are written alike, down to every type and bit.

    Raises:
        Refused: Or any other of `UNWRITABLE`, where one of them cannot be written.
    """
    return _pack(first, Packing()) == _pack(second, Packing())
