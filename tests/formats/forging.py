"""Documents that no writer writes, with true digests: so that damage gets deep into a reader."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest
import xxhash

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats import document
from tune_ckpt.formats.document_reading import read_blob, read_head
from tune_ckpt.formats.extensions import ROWS
from tune_ckpt.formats.inert import Tree
from tune_ckpt.formats.io import BytesSink, BytesSource
from tune_ckpt.formats.msgpack import loads
from tune_ckpt.formats.wire import Packer, packb, unpackb  # whatever RLlib has patched meanwhile


def parts_of(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the state's msgpack bytes and the blobs of a document."""
    source = BytesSource(data)
    head = read_head(source)
    blobs = []
    for number, pieces in enumerate(head.blobs):
        target = memoryview(bytearray(sum(piece.nbytes for piece in pieces)))
        read_blob(source, head, number, target)
        blobs.append(bytes(target))
    return bytes(head.state), blobs


def tree_of(data: bytes) -> Tree:
    """Return the inert tree of a document."""
    source = BytesSource(data)
    return Tree(source, read_head(source))


def forge(state: bytes, blobs: list[bytes] | tuple[()] = ()) -> bytes:
    """Return a document of any bytes as its state."""
    forged = document.Document(state, [memoryview(blob) for blob in blobs])
    sink = BytesSink(forged.nbytes)
    forged.write(sink)
    return bytes(sink.buffer)


def forge_tree(tree: bytes, rest: bytes = b"", *, nbytes: int | None = None) -> bytes:
    """Return a document of any bytes as its whole tree, and as what follows."""
    size = len(tree) if nbytes is None else nbytes
    digest = xxhash.xxh3_128_digest(tree)
    head = b"\x94\xa9tune_ckpt\x01\xcf" + size.to_bytes(8, "big") + b"\xc4\x10" + digest
    return head + tree + rest


def tagged(code: int, *parts: Any) -> list[Any]:
    """Return what stands in a tree for a value of the table."""
    return [msgpack.ExtType(code, b""), *parts]


def short(code: int, dtype: Any, shape: Any, data: bytes) -> Any:
    """Return what stands in a tree for a small array."""
    description = packb([dtype, shape])
    return msgpack.ExtType(code, bytes([len(description)]) + description + data)


def forge_value(value: Any, blobs: list[bytes] | tuple[()] = ()) -> bytes:
    """Return a document of a tree made by hand."""
    return forge(packb(value), blobs)


def array(dtype: Any = "<f8", shape: Any = (2,), data: Any = b"\0" * 16, *rest: Any) -> list[Any]:
    """Return what stands in a tree for an array."""
    return tagged(40, dtype, list(shape), data, *rest)


def refused(value: Any, blobs: Any = (), match: str | None = None) -> None:
    """Check that a document of a tree made by hand is refused."""
    with pytest.raises(CorruptDataError, match=match):
        loads(forge_value(value, blobs))


# ------------------------------------------------------------------------------------ mutations

_NUMBERS = [0, 1, -1, 2, 7, 31, 32, 63, 64, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1]
_NUMBERS += [2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1024, 624, 625]
_VALUES: list[Any] = [
    None,
    True,
    False,
    0.0,
    -0.0,
    1.5,
    float("nan"),
    float("inf"),
    "",
    b"",
    [],
    {},
]
_VALUES += ["a", "O", "<f8", "|V0", "<U0", "|S0", "<U999999999", "bfloat16", "<M8[ns]", "string"]
_VALUES += [
    "struct",
    "record",
    "subarray",
    "float32",
    "builtins:int",
    "os:system",
    "x:y",
    "\0",
    ":",
]
_VALUES += ["MT19937", "PCG64", "SFC64", "Philox", "PosixPath", "int", "NaN", "1E+999999999", "UTC"]
_VALUES += [
    b"\0",
    b"\0" * 8,
    b"\xff" * 16,
    b"x" * 100,
    "x" * 100,
    [0],
    [1, 2],
    {1: 2},
    [[]],
    [None],
]
_VALUES += [["struct", 8, False, [["a", "<f8", 0, None]]], ["subarray", "<f8", [2]]]
_VALUES += [["string", True], ["string", True, None], ["struct", 8, True, [["a", "O", 0, None]]]]
_VALUES += [msgpack.Timestamp(1, 2), msgpack.ExtType(5, b"x"), msgpack.ExtType(99, b"")]


def interesting(chance: random.Random) -> Any:
    """Return a value that readers may stumble over."""
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(_NUMBERS)
    if kind < 0.7:
        return chance.choice(_VALUES)
    code = chance.choice([*ROWS, 60, 61, 62, 63, 64, 100, 126])
    if kind < 0.78:
        dtype, shape = (chance.choice([value, interesting(chance)]) for value in ("<f8", [1]))
        return _short_or_not(chance.choice([40, 47, 60, code]), dtype, shape)
    return tagged(code, *(interesting(chance) for _ in range(chance.randint(0, 5))))


def _short_or_not(code: int, dtype: Any, shape: Any) -> Any:
    try:
        return short(code, dtype, shape, b"\0" * 8)
    except ValueError:  # its description is too long
        return tagged(code, dtype, shape, b"\0" * 8)


def mutate_bytes(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """Return bytes with a few of them changed, removed, repeated or taken from another place."""
    raw = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        start = chance.randrange(len(raw) + 1)
        end = min(len(raw), start + chance.choice([0, 1, 1, 1, 2, 4, 9]))
        what = chance.random()
        if what < 0.4:
            new = bytes(chance.choice(range(256)) for _ in range(end - start))
        elif what < 0.6:
            new = bytes(
                [chance.choice([0xC0, 0xC1, 0xC7, 0xD4, 0xD9, 0xDC, 0xDD, 0xDF, 0x90, 0x80])]
            )
        elif what < 0.8:
            place = chance.randrange(len(other) + 1)
            new = other[place : place + chance.choice([1, 2, 5, 20])]
        else:
            new = b""
        raw[start:end] = new
    return bytes(raw)


def mutate_tree(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """Return msgpack bytes of the same tree with a few nodes replaced, removed or exchanged."""
    root = [_parsed(data)]
    lists = _lists(root)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        items = chance.choice(lists)
        place = chance.randrange(len(items) + 1)
        what = chance.random()
        if what < 0.5 and items:
            items[place - 1] = interesting(chance)
        elif what < 0.6:
            items.insert(place, interesting(chance))
        elif what < 0.7 and items:
            del items[place - 1]
        elif what < 0.85 and items:
            items[place - 1] = chance.choice(chance.choice(lists) or [None])
        elif items:
            items[place - 1] = chance.choice(_lists([_parsed(other)]))
    try:
        return pack_nodes(root[0] if root else None)
    except (ValueError, OverflowError, RecursionError):  # a tree that contains itself now
        return data


class _Map(list):
    """A map as the list of its keys and values, which can be mutated alike."""


def _parsed(data: bytes) -> Any:
    def pairs(items: Any) -> _Map:
        return _Map(part for item in items for part in item)

    return unpackb(data, object_pairs_hook=pairs, strict_map_key=False, timestamp=0)


def list_nodes(state: bytes) -> list[list[Any]]:
    """Return each list and each map (as a list) of msgpack bytes, the outermost first."""
    return _lists([_parsed(state)])[1:]


def _lists(root: list[Any]) -> list[list[Any]]:
    found, seen, stack = [], set(), [root]
    while stack:
        items = stack.pop()
        if id(items) not in seen:
            seen.add(id(items))
            found.append(items)
            stack += [item for item in items if isinstance(item, list)]
    return found


def pack_nodes(root: Any) -> bytes:
    """Return a tree of `list_nodes` as msgpack bytes again."""
    packer = Packer(autoreset=False)

    def pack(value: Any, depth: int) -> None:
        if depth > 300:
            raise RecursionError
        if type(value) is _Map:
            packer.pack_map_header(len(value) // 2)
            for part in value[: len(value) // 2 * 2]:
                pack(part, depth + 1)
        elif type(value) is list:
            packer.pack_array_header(len(value))
            for part in value:
                pack(part, depth + 1)
        else:
            packer.pack(value)

    pack(root, 0)
    if packer.getbuffer().nbytes > 2**20:
        raise ValueError("grown too large")
    return bytes(packer.bytes())
