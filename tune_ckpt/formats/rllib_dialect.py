"""The rllib dialect: what RLlib writes with msgpack under ``msgpack_numpy``, and reads again.

Arrays and numbers are dicts with bytes as keys, marked by ``nd`` or ``complex``; see FORMAT.md.
msgpack itself is never patched, and no object array is ever unpickled freely.

Some types come back as others, as they do in RLlib: tuples and namedtuples as lists, subclasses of
dict, list, str, bytes, int and float (so ``numpy.float64``, enums of ints, ``OrderedDict``) as the
plain ones, bytearrays as bytes, arrays of any layout in C order, recarrays as arrays. What would be
lost altogether, or could not be read again, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.arrays import raw_bytes
from tune_ckpt.formats.extensions import Refused, why_refused
from tune_ckpt.formats.packed import Buffers
from tune_ckpt.formats.packing import INLINE_NBYTES, UNWRITABLE
from tune_ckpt.formats.parts import label
from tune_ckpt.formats.rllib_reading import decode_descr, load
from tune_ckpt.formats.walking import MAX_DEPTH
from tune_ckpt.formats.wire import packb, unpackb

__all__ = ["load", "pack"]

_MAX_NBYTES = 2**32 - 1
_MARKERS = b"nd", b"complex"

# ------------------------------------------------------------------------------------- writing


def pack(state: Any) -> Buffers:
    """Pack a state; its larger arrays are referred to, not copied.

    Raises:
        UnsupportedStateError: It holds values that RLlib could not read again; all are listed.
    """
    packing = _Packing()
    try:
        packed = packb(state, default=packing.default)
        readable = packing.can_be_read(packed)
    except UNWRITABLE:
        readable = False
    if not readable:
        faults = tuple(_faults(state)) or (Fault("", "RLlib could not read it again"),)
        raise UnsupportedStateError(faults)
    return Buffers(list(packing.spliced(packed)))


class _Packing:
    """Packs larger arrays as placeholders, whose places in the stream are found again."""

    def __init__(self) -> None:
        self._token = os.urandom(16)  # occurs nowhere else
        self._arrays: list[memoryview] = []
        self._markers = 0

    def default(self, value: Any) -> dict[bytes, Any]:
        """Return an array as ``msgpack_numpy`` has it, a large one's data as a marker."""
        self._markers += 1
        packed = _encode(value)
        data = packed[b"data"]
        if isinstance(data, memoryview) and data.nbytes > INLINE_NBYTES:
            packed[b"data"] = self._token + len(self._arrays).to_bytes(8, "big")
            self._arrays.append(data)
        return packed

    def can_be_read(self, packed: bytes) -> bool:
        """Whether keys can be keys again, and nothing but our markers looks like one."""
        found = 0

        def count(items: dict[Any, Any]) -> None:
            """Count a dict that would be read as an array."""
            nonlocal found
            found += any(marker in items for marker in _MARKERS)

        unpackb(packed, object_hook=count, strict_map_key=False)
        return found == self._markers

    def spliced(self, packed: bytes) -> Iterator[memoryview]:
        """Yield the stream's pieces: msgpack bytes and arrays' memory in turn."""
        view, start = memoryview(packed), 0
        for number, array in enumerate(self._arrays):
            place = packed.index(self._token + number.to_bytes(8, "big"), start)
            yield view[start : place - 2]  # without the placeholder's own header, a bin 8
            yield memoryview(_bin_header(array.nbytes))
            yield array
            start = place + 24
        yield view[start:]


def _bin_header(nbytes: int) -> bytes:
    size = next(size for size in (1, 2, 4) if nbytes < 256**size)
    return bytes([{1: 0xC4, 2: 0xC5, 4: 0xC6}[size]]) + nbytes.to_bytes(size, "big")


def _encode(value: Any) -> dict[bytes, Any]:
    """Return what stands for a value that msgpack lacks.

    Raises:
        Refused: Nothing does.
    """
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    if isinstance(value, np.bool_ | np.number) and value.dtype.kind in "biufc":
        return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
    if isinstance(value, complex):
        return {b"complex": True, b"data": repr(value)}
    raise Refused(why_refused(type(value)))


def _encode_array(array: Any) -> dict[bytes, Any]:
    dtype, is_struct = array.dtype, array.dtype.kind == "V"
    if isinstance(array, np.ma.MaskedArray):
        raise Refused("the mask of a masked array would be lost")
    if dtype.kind not in "biufcSUV":
        raise Refused(f"RLlib's dialect has no safe place for an array of dtype {dtype}")
    code = dtype.descr if is_struct else dtype.str
    if decode_descr(code) != dtype:
        raise Refused(f"an array of dtype {dtype} would come back with another one")
    if array.nbytes > _MAX_NBYTES:
        raise Refused("RLlib's dialect has no arrays of 4 GiB or more")
    return {
        b"nd": True,
        b"type": code,
        b"kind": b"V" if is_struct else b"",
        b"shape": array.shape,
        b"data": raw_bytes(np.ascontiguousarray(array)),
    }


def _faults(state: Any) -> Iterator[Fault]:
    stack: list[tuple[tuple[Any, ...], Any, frozenset[int]]] = [((), state, frozenset())]
    while stack:
        steps, value, above = stack.pop()
        path = "/".join(map(label, steps))
        reason = "it contains itself" if id(value) in above else _why_unreadable(value)
        if len(steps) > MAX_DEPTH // 2:
            path, reason = "/".join(map(label, steps[:8])) + "/...", "it is nested too deeply"
        if reason:
            yield Fault(path, reason)
        elif isinstance(value, dict | list | tuple):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            inner = above | {id(value)}
            stack += [((*steps, step), item, inner) for step, item in reversed([*items])]


def _why_unreadable(value: Any) -> str | None:
    try:
        if isinstance(value, list | tuple):
            return None
        if not isinstance(value, dict):
            packb(value, default=_encode)
            return None
        if any(marker in value for marker in _MARKERS):
            return "a dict with the key b'nd' or b'complex' would come back as an array or a number"
        unkeyed = [key for key in value if not isinstance(key, str | bytes | int | float | None)]
        return f"the key {label(unkeyed[0])} cannot be read again" if unkeyed else None
    except UNWRITABLE as error:
        return str(error) or type(error).__name__
