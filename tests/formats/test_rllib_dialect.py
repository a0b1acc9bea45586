"""What RLlib writes we read, and what we write is byte for byte what it would write."""

from __future__ import annotations

import enum
import pickle
import random
import subprocess
import sys
import threading
from collections import OrderedDict
from contextlib import suppress

import msgpack_numpy
import numpy as np
import pytest

from tests.formats.comparing import assert_same
from tune_ckpt.errors import (
    CorruptDataError,
    TuneCkptError,
    UnsupportedStateError,
    UntrustedPickleError,
)
from tune_ckpt.formats import rllib_dialect
from tune_ckpt.formats.io import BytesSink, BytesSource


class Number(enum.IntEnum):
    ONE = 1


def write(state):
    stream = rllib_dialect.pack(state)
    sink = BytesSink(stream.nbytes)
    return stream.write(sink), bytes(sink.buffer)


def read(data):
    return rllib_dialect.load(BytesSource(data))


def arrays():
    return {
        "large": np.arange(1000.0),
        "fortran": np.asfortranarray(np.arange(600.0).reshape(20, 30)),
        "small": np.arange(3, dtype=">i2"),
        "zero": np.zeros((0, 3), "f2"),
        "scalar": np.array(5),
        "struct": np.zeros(200, [("a", "<i4"), ("b", "<f8", (2,))]),
        "text": np.array(["a", "bc"]),
        "twice": [np.arange(70000, dtype="u1")] * 2,
        0: np.float32(1.5),
        1: [np.int64(3), np.bool_(True), complex(1, -2), None, b"x", 2**64 - 1, 0.5],
    }


def test_the_bytes_are_those_of_msgpack_numpy():
    _, data = write(arrays())
    assert data == msgpack_numpy.packb(arrays())


def test_the_arrays_come_back_writable_and_own_their_memory():
    loaded = read(write(arrays())[1])
    expected = msgpack_numpy.unpackb(msgpack_numpy.packb(arrays()), strict_map_key=False)
    for name in ("large", "fortran", "small", "zero", "scalar", "struct", "text"):
        assert loaded[name].flags.writeable
        assert loaded[name].flags.owndata
        assert_same(expected[name].copy(), loaded[name])
    assert_same(expected[0], loaded[0])
    assert_same(expected[1], loaded[1])


def test_types_that_rllib_changes_are_changed_alike():
    state = {"a": (1, (2,)), "o": OrderedDict(x=1), "f": np.float64(2), "e": Number.ONE}
    assert_same(read(write(state)[1]), {"a": [1, [2]], "o": {"x": 1}, "f": 2.0, "e": 1})


def test_everything_that_cannot_come_back_is_listed_with_its_path():
    circle = []
    circle.append(circle)
    state = {
        "set": {1},
        "big": [1, 2**64],
        "lambda": {"deep": [lambda: 1]},
        "lock": threading.Lock(),
        "objects": np.array([None]),
        "dates": np.array(["2026-01-01"], "M8[D]"),
        "masked": np.ma.MaskedArray([1], [True]),
        "imitation": {b"nd": True},
        "tuple key": {(1, 2): 3},
        "surrogate": "\ud800",
        "padded": np.zeros(1, np.dtype([("a", "i1"), ("b", "i8")], align=True)),
        "circle": circle,
        "fine": (1, 2),
    }
    with pytest.raises(UnsupportedStateError) as error:
        rllib_dialect.pack(state)
    assert [fault.path for fault in error.value.faults] == [
        *("set", "big/1", "lambda/deep/0", "lock", "objects", "dates", "masked", "imitation"),
        *("tuple key", "surrogate", "padded", "circle/0"),
    ]


def test_plain_object_arrays_are_read():
    data = msgpack_numpy.packb({"o": np.array([1, "a", None], object)})
    assert_same(read(data), {"o": np.array([1, "a", None], object)})


class _Attack:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_in_an_object_array_is_not_executed(capsys):
    payload = pickle.dumps(_Attack())
    array = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": payload}
    with pytest.raises(UntrustedPickleError, match="print"):
        read(msgpack_numpy.packb({"o": array}))
    assert capsys.readouterr().out == ""


def test_an_unexpected_digest_is_an_error():
    digest, data = write({"a": 1})
    assert rllib_dialect.load(BytesSource(data), digest) == {"a": 1}
    with pytest.raises(CorruptDataError):
        rllib_dialect.load(BytesSource(data), "0" * 32)


def test_a_file_cut_short_anywhere_is_an_error():
    _, data = write(arrays())
    for end in range(0, len(data), max(1, len(data) // 400)):
        with pytest.raises(CorruptDataError):
            read(data[:end])


def test_the_place_of_a_malformed_array_is_named():
    bad = {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": [2**40], b"data": b"x"}
    with pytest.raises(CorruptDataError, match="at a/0:"):
        read(msgpack_numpy.packb({"a": [bad]}))


def test_damaged_bytes_are_a_value_or_an_error():
    chance = random.Random(0)
    _, data = write(arrays() | {"large": None, "fortran": None, "twice": None})
    for _ in range(20_000):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 1, 3])):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        with suppress(TuneCkptError):
            read(damaged)


_PATCHED = """
import sys
import msgpack_numpy
msgpack_numpy.patch()
import numpy as np
from tests.formats.comparing import assert_same
from tests.formats.test_rllib_dialect import arrays, read, write
from tune_ckpt.formats import msgpack as typed
data = write(arrays())[1]
assert data == open(sys.argv[1], "rb").read()
assert read(data)["large"].flags.writeable
assert_same(typed.loads(typed.dumps(arrays())), arrays())
print("done")
"""

_RLLIB = """
import sys
from ray.rllib.utils.checkpoints import try_import_msgpack
from tests.formats.test_rllib_dialect import arrays
msgpack = try_import_msgpack(error=True)
with open(sys.argv[1], "rb") as file:
    loaded = msgpack.load(file, strict_map_key=False)
from tests.formats.comparing import assert_same
for name in ("large", "fortran", "small", "struct", "text"):
    assert_same(loaded[name].copy(), arrays()[name].copy(order="C"))
with open(sys.argv[2], "wb") as file:
    msgpack.dump(arrays(), file)
print("done")
"""


def _run(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_patched_msgpack_changes_nothing(tmp_path):
    (tmp_path / "ours").write_bytes(write(arrays())[1])
    run = _run(_PATCHED, tmp_path / "ours")
    assert run.stdout == "done\n", run.stderr


@pytest.mark.slow
def test_rllib_reads_ours_and_we_read_its(tmp_path):
    pytest.importorskip("gymnasium")
    _, data = write(arrays())
    (tmp_path / "ours").write_bytes(data)
    run = _run(_RLLIB, tmp_path / "ours", tmp_path / "theirs")
    assert run.stdout == "done\n", run.stderr
    assert (tmp_path / "theirs").read_bytes() == data
