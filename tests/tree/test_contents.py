"""Looking into files: hostile ones end in an error of ours, or in something to look at."""

import os
import random

import numpy as np
import pytest

from tests.formats.forging import (
    forge,
    forge_tree,
    forge_value,
    mutate_bytes,
    mutate_tree,
    parts_of,
    tagged,
)
from tests.portable_values import values
from tune_ckpt.errors import CorruptDataError, TuneCkptError
from tune_ckpt.formats import msgpack, pickle
from tune_ckpt.formats.document import _PIECE_NBYTES, place_blobs
from tune_ckpt.formats.wire import packb
from tune_ckpt.tree.inspection.contents import open_contents
from tune_ckpt.tree.inspection.found import Array
from tune_ckpt.tree.storage.store import LocalStore


def _look_at(folder, name, data):
    (folder / name).write_bytes(data)
    with open_contents(LocalStore(folder), name) as contents:
        facts = list(contents.arrays())
        assert all(array.nbytes >= 0 and np.prod(array.shape) >= 0 for array in facts)
        found = list(contents.walk())
        return facts, [item.digest() for *_, item in found if isinstance(item, Array)]


def _count(attempts):
    outcomes = {"looked at": 0, "refused": 0}
    for attempt in attempts:
        try:
            attempt()
            outcomes["looked at"] += 1
        except TuneCkptError:
            outcomes["refused"] += 1
    return outcomes


def _state():
    shared = np.arange(3000.0)
    masked = np.ma.MaskedArray(np.arange(400.0), np.arange(400) % 2 == 0)
    return {**values(), "shared": [shared, shared, shared.T], "masked": masked}


@pytest.mark.parametrize("mutate", [mutate_bytes, mutate_tree])
def test_forged_documents_are_refused_or_looked_at(tmp_path, mutate):
    state, blobs = parts_of(msgpack.dumps(_state()))
    chance = random.Random(5)
    attempts = [
        lambda: _look_at(tmp_path, "state.msgpack", forge(mutate(state, chance, state), blobs))
    ]
    assert min(_count(attempts * 300).values()) > 50


def test_damaged_pickles_are_refused_or_looked_at(tmp_path):
    data = pickle.dumps(_state())
    chance = random.Random(6)
    attempts = [lambda: _look_at(tmp_path, "state.pkl", mutate_bytes(data, chance, data))]
    assert min(_count(attempts * 300).values()) > 50


@pytest.mark.parametrize(
    "parts",
    [
        ["<f8", [-1], b""],
        ["<f8", ["x"], b"x" * 8],
        ["<f8", 3, b"x" * 24],
        ["<q9", [1], b"x" * 8],
        ["", [1], b"x" * 8],
        [["struct"], [1], b"x" * 8],
        ["<f8", [1], 0],
        ["<f8", [1], b"x" * 8, [3]],
    ],
    ids=repr,
)
def test_forged_arrays_are_refused(tmp_path, parts):
    with pytest.raises(CorruptDataError):
        _look_at(tmp_path, "state.msgpack", forge_value({"w": tagged(40, *parts)}))


def test_a_document_larger_than_memory_is_looked_at(tmp_path):
    size = _PIECE_NBYTES
    count = 2 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // size + 1
    table = [[size, bytes([number] * 16)] for number in range(count)]
    last = {"w": tagged(40, "|u1", [size], count - 1)}
    data = forge_tree(packb(table) + packb(last))
    with open(tmp_path / "state.msgpack", "wb") as file:  # the disk keeps the zeros for nothing
        file.write(data)
        *_, [piece] = place_blobs(len(data), [size] * count)
        file.truncate(piece.offset + size)
    with open_contents(LocalStore(tmp_path), "state.msgpack") as contents:
        (array,) = contents.arrays()
        assert (array.path, array.nbytes) == ("w", size)
        *_, (_, _, found) = contents.walk()
        assert found.digest() == f"{count - 1:02x}" * 16


def test_an_empty_file_is_refused(tmp_path):
    for name in ("state.msgpack", "state.pkl"):
        with pytest.raises(CorruptDataError):
            _look_at(tmp_path, name, b"")
