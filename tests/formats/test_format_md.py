"""The specification tells of every row, and is enough to write a reader from."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

import tune_ckpt.formats
from tests.formats.golden_values import VALUES, rows_here
from tests.formats.make_golden import path_of
from tune_ckpt.formats import msgpack

SPECIFICATION = (Path(tune_ckpt.formats.__file__).parent / "FORMAT.md").read_text()


def test_every_row_has_its_line():
    lines = re.findall(r"^\| (\d+) \| ([^|#]+?)( #)? \|", SPECIFICATION, re.MULTILINE)
    told = {(int(code), name): bool(shared) for code, name, shared in lines}
    for row in rows_here():
        assert told[row.code, row.name] == (row.identity is not None), row.name


# A reader that follows FORMAT.md and knows nothing of the package: Python's standard library only.


def unpack(data: bytes, at: int):
    """Return one msgpack object at a place, and where it ends."""
    code = data[at]
    at += 1
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 256), at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if code in _NUMBERS:
        form = _NUMBERS[code]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if code in _EXTS or code in _FIXED_EXTS:
        width = _EXTS.get(code, 0)
        size = _FIXED_EXTS.get(code) or int.from_bytes(data[at : at + width], "big")
        at += width + 1
        return ("ext", data[at - 1], data[at : at + size]), at + size
    kind, size, at = _lengths(data, code, at)
    if kind in ("str", "bin"):
        raw = data[at : at + size]
        return (raw.decode() if kind == "str" else raw), at + size
    items = []
    for _ in range(size * (2 if kind == "map" else 1)):
        item, at = unpack(data, at)
        items.append(item)
    return (items if kind == "array" else list(zip(items[::2], items[1::2], strict=True))), at


_NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
_NUMBERS |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_EXTS, _FIXED_EXTS = {0xC7: 1, 0xC8: 2, 0xC9: 4}, {0xD4 + i: 2**i for i in range(5)}
_SIZED = {0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xD9: ("str", 1), 0xDA: ("str", 2)}
_SIZED |= {0xDB: ("str", 4), 0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2)}
_SIZED |= {0xDF: ("map", 4)}


def _lengths(data: bytes, code: int, at: int):
    if code in _SIZED:
        kind, width = _SIZED[code]
        return kind, int.from_bytes(data[at : at + width], "big"), at + width
    if code < 0x90:
        return "map", code & 15, at
    return ("array", code & 15, at) if code < 0xA0 else ("str", code & 31, at)


def read_arrays(data: bytes):
    """Return dtype, shape, order and raw bytes of each array of a document, in order."""
    (magic, version, tree_nbytes, _), at = unpack(data, 0)
    assert (magic, version, at) == ("tune_ckpt", 1, 39)
    table, at = unpack(data, at)
    state, at = unpack(data, at)
    assert at == 39 + tree_nbytes
    blobs = []
    for nbytes, _ in table:
        at += 5 + -(at + 5) % 64
        blobs.append(data[at : at + nbytes])
        at += nbytes
    assert at == len(data)
    found, stack = [], [state]
    while stack:
        node = stack.pop()
        if isinstance(node, list) and node and node[0] == ("ext", 40, b""):
            _, dtype, shape, raw, *rest = node
            raw = blobs[raw] if isinstance(raw, int) else raw
            found.append((dtype, tuple(shape), rest[0] if rest else None, raw))
        elif isinstance(node, tuple) and node[:2] == ("ext", 40):
            end = 1 + node[2][0]
            (dtype, shape), _ = unpack(node[2][1:end], 0)
            found.append((dtype, tuple(shape), None, node[2][end:]))
        elif isinstance(node, list | tuple):
            stack += reversed(node)
    return found


def test_a_reader_made_from_the_specification_reads_the_arrays():
    found = read_arrays(path_of("ndarray").read_bytes())
    arrays = VALUES["ndarray"]()[:-1]  # the last is the first again
    assert len(found) == len(arrays)
    for (dtype, shape, order, raw), array in zip(found, arrays, strict=True):
        assert shape == array.shape
        if isinstance(dtype, str) and dtype != "O":
            order = order or list(range(array.ndim))
            straight = np.frombuffer(raw, dtype).reshape([shape[axis] for axis in order])
            assert straight.transpose(np.argsort(order)).tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["masked array", "Generator", "native"])
def test_that_reader_reads_every_document(name):
    read_arrays(path_of(name).read_bytes())
    assert read_arrays(msgpack.dumps([np.zeros(500), "x" * 300, {1: [2.5] * 20}]))
