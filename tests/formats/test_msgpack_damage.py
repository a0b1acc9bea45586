"""Damage, under the digest and under a true one: each document is a value or one of our errors."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from tests.formats import fuzz_msgpack
from tests.formats.forging import forge, list_nodes, pack_nodes, parts_of
from tests.formats.golden_values import VALUES
from tests.formats.make_golden import path_of
from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.io import BytesSource

SMALL = {"a": (1, np.arange(3.0)), "b": np.arange(200.0), "c": OrderedDict(x=np.float32(1))}


def test_truncation_at_every_offset():
    data = msgpack.dumps(SMALL)
    for end in range(len(data)):
        with pytest.raises(CorruptDataError):
            msgpack.loads(data[:end])


def test_something_appended():
    with pytest.raises(CorruptDataError):
        msgpack.loads(msgpack.dumps(SMALL) + b"\0")


def test_every_bit_flipped():
    data = bytearray(msgpack.dumps(SMALL))
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            with pytest.raises(CorruptDataError):
                msgpack.loads(data)
            data[place] ^= 1 << bit


def test_every_byte_of_a_tree_replaced_under_a_true_digest():
    state, blobs = parts_of(msgpack.dumps(SMALL))
    for place in range(len(state)):
        for byte in (0x00, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC4, 0xC7, 0xD4, 0xDD, 0xDF, 0xFF):
            fuzz_msgpack.read(forge(state[:place] + bytes([byte]) + state[place + 1 :], blobs))


def test_some_mutations():
    assert min(fuzz_msgpack.run(10_000, 20, seed=7).values()) > 1000


@pytest.mark.parametrize("name", VALUES)
def test_truncated_parts_of_each_row(name):
    """Each tagged value with each number of its parts missing, or one too many."""
    state, blobs = parts_of(path_of(name).read_bytes())
    for items in list_nodes(state):
        last = items.pop() if items else None
        fuzz_msgpack.read(forge(pack_nodes(items), blobs))
        fuzz_msgpack.read(forge(pack_nodes([*items, last, None]), blobs))


def test_every_way_of_reading_agrees_on_honest_documents():
    for name, make in VALUES.items():
        data = msgpack.dumps([make()])
        assert fuzz_msgpack.read(data) == "value", name
        msgpack.verify(BytesSource(data))
