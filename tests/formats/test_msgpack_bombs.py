"""Documents that would take all memory or time, named after what they blow up: all are refused."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.formats import fuzz_msgpack
from tests.formats.forging import array, forge, forge_tree, forge_value, refused, short, tagged
from tune_ckpt.errors import TuneCkptError
from tune_ckpt.formats import arrays, msgpack

_HUGE = 2**32 - 1
LENGTHS = {
    "array": b"\xdd\xff\xff\xff\xff",
    "map": b"\xdf\xff\xff\xff\xff",
    "text": b"\xdb\xff\xff\xff\xff",
    "bytes": b"\xc6\xff\xff\xff\xff",
    "ext": b"\xc9\xff\xff\xff\xff\x01",
    "arrays in arrays": b"\xdd\x00\x10\x00\x00" * 900,
    "maps in maps": b"\xdf\x00\x10\x00\x00\x01" * 900,
}


def within_memory(data, limit=2**21):
    tracemalloc.start()
    try:
        with pytest.raises(TuneCkptError):
            msgpack.loads(data)
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", LENGTHS)
def test_length_bomb(name):
    within_memory(forge(LENGTHS[name]))
    within_memory(forge_tree(LENGTHS[name]))


def test_tree_longer_than_the_file():
    within_memory(forge_tree(b"\x90\xc0", nbytes=2**62))


def test_shape_bomb():
    for shape in ([2**40], [2**31, 2**31], [2**62, 2**62, 0], [1] * 65, [-1], [2**64 - 1], [0, -1]):
        for data in (b"", b"\0" * 16, 0, []):
            for order in (None, list(range(len(shape)))):
                within_memory(forge_value([array("<f8", shape, data, order)], [b"\0" * 16]))


def test_dtype_bomb():
    for dtype in ("<U999999999", "|V999999999", ["subarray", "<f8", [2**31, 2**31]]):
        within_memory(forge_value(array(dtype, [1])))
        within_memory(forge_value(tagged(41, dtype, b"")))


def test_elements_without_bytes():
    value = msgpack.loads(forge_value(array("|V0", [2**40], b"")))
    assert value.nbytes == 0
    mask = array("|b1", [2**40], b"")
    within_memory(forge_value(tagged(45, array("|V0", [2**40], b""), mask, None, False)))


def test_nesting_bomb():
    for start in (b"\x91", b"\x81\x01", b"\x92\xc7\x00\x01", b"\x92\xc7\x00\x03"):
        for depth in (1000, 1100, 100_000):
            fuzz_msgpack.read(forge(start * depth + b"\x01"))


def test_deep_but_honest_nesting():
    value = 1
    for _ in range(900):
        value = (value,)
    assert msgpack.loads(msgpack.dumps(value)) == value
    assert msgpack.dumps(msgpack.loads(msgpack.dumps([value, bytearray(b"")]))) == msgpack.dumps(
        [value, bytearray(b"")]
    )


def test_number_bombs():
    for value in (
        tagged(26, "1E+99999999999999999999"),
        tagged(26, "x" * 10**6),
        tagged(27, 1, 0),
        tagged(27, tagged(4, b"\7" * 10**6), tagged(4, b"\5" * 10**6)),
        tagged(23, 2**62, 0, 0),
        tagged(20, 2**62, 1, 1, 0, 0, 0, 0, None, 0),
        tagged(30, 0, 1, 0),
        tagged(30, 0.5, 1, 1),
        tagged(10, -1, []),
        tagged(10, 1, [1, 2]),
        tagged(24, tagged(23, 100, 0, 0)),
        tagged(28, b"short"),
        tagged(28, "x" * 16),
    ):
        refused([value])


def test_many_kinds_of_short_forms_are_not_all_remembered():
    shapes = [[1, 0, n] for n in range(5000)]
    value = msgpack.loads(forge_value([short(40, "<f8", shape, b"") for shape in shapes]))
    assert [list(array.shape) for array in value] == shapes
    assert len(arrays._KINDS) <= 1000


def test_seeds_that_take_forever():
    huge = tagged(4, b"\7" * 10**6)
    for entropy, key in (
        (huge, tagged(1)),
        ([0] * 10**5, tagged(1)),
        (0, tagged(1, huge)),
        (tagged(26, "1E+9999999"), tagged(1)),
        (0, tagged(1, *[0] * 10**5)),
    ):
        refused(tagged(73, entropy, key, 4, 0))
    for pool in (0, 2**40, -1, "4"):
        refused(tagged(73, 0, tagged(1), pool, 0))
