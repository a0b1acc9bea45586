"""Attacks on the reader, named after what they try: each is a value or one of our errors."""

from __future__ import annotations

import builtins
import sys
import time
import tracemalloc
from collections import OrderedDict

import msgpack as plain_msgpack
import numpy as np
import pytest

from tests.formats import fuzz_msgpack
from tests.formats.forging import (
    forge,
    forge_tree,
    forge_value,
    list_nodes,
    pack_nodes,
    parts_of,
    short,
    tagged,
)
from tests.formats.golden_values import VALUES
from tests.formats.make_golden import path_of
from tune_ckpt.errors import CorruptDataError, TuneCkptError
from tune_ckpt.formats import arrays, msgpack
from tune_ckpt.formats.io import BytesSource
from tune_ckpt.formats.references import EnumValue, NamedTupleValue, Reference

SMALL = {"a": (1, np.arange(3.0)), "b": np.arange(200.0), "c": OrderedDict(x=np.float32(1))}


def array(dtype="<f8", shape=(2,), data=b"\0" * 16, *rest):
    return tagged(40, dtype, list(shape), data, *rest)


def refused(value, blobs=(), match=None):
    with pytest.raises(CorruptDataError, match=match):
        msgpack.loads(forge_value(value, blobs))


# ------------------------------------------------------------------------------ damage without aim


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


def test_many_mutations():
    assert min(fuzz_msgpack.run(10**9, 8, seed=int(time.time())).values()) > 1000


def test_some_mutations():
    assert min(fuzz_msgpack.run(10_000, 20, seed=7).values()) > 1000


# ---------------------------------------------------------------------------------------- bombs

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
        start = time.perf_counter()
        refused([value])
        assert time.perf_counter() - start < 1


# ------------------------------------------------------------------------ lies about what is where


def test_blobs_claimed_twice_out_of_order_or_not_at_all():
    blobs = [b"\0" * 2048, b"\1" * 2048]
    first, second = array("<f8", [256], 0), array("<f8", [256], 1)
    assert len(msgpack.loads(forge_value([first, second], blobs))) == 2
    for value in ([first, first], [second, first], [first], [first, second, second], []):
        refused(value, blobs)
    for number in (-1, 2, 2**64 - 1):
        refused([first, second, array("<f8", [256], number)], blobs)


def test_a_blob_of_another_size_than_its_array():
    for shape in ([255], [257], [2, 2]):
        refused(array("<f8", shape, 0), [b"\0" * 2048])


def test_a_table_that_lies():
    state = plain_msgpack.packb([1])
    for table in ([[0, b"x" * 16]], [[-5, b"x" * 16]], [[2**63, b"x" * 16]], [[5, b"x"]], [[5]], 7,
                  [["5", b"x" * 16]], {1: 2}, [[True, b"x" * 16]]):  # fmt: skip
        with pytest.raises(CorruptDataError):
            msgpack.loads(forge_tree(plain_msgpack.packb(table) + state, b"\xc0" * 100))


def test_tags_in_wrong_places():
    tag = plain_msgpack.ExtType(1, b"")
    unknown, filled = tagged(99, 1), plain_msgpack.ExtType(1, b"payload")
    for value in ([1, tag], tag, {"a": tag}, [tagged(1, tag)], [tagged(40), 1], [[1, tag], [tag]]):
        refused(value)
    for value in ([unknown], [filled]):
        refused(value)
    with pytest.raises(CorruptDataError):
        msgpack.loads(forge(b"\x91\xc7\x00\xfb"))  # a negative code


def test_short_forms_that_lie():
    double = b"\0" * 8
    assert msgpack.loads(forge_value([short(40, "<f8", [1], double)]))[0].tolist() == [0.0]
    for dtype, shape, data in [
        ("<f8", [2], double),
        ("<f8", [1], double + b"\0"),
        ("<f8", [-1], double),
        ("<f8", [2**61], double),
        ("<f8", [2**62, 0], b""),
        ("<f8", 1, double),
        ("O", [1], double),
        ("|V0", [2**62], b""),
        (["struct", 8, False, [["a", "O", 0, None]]], [1], double),
        ("os", [1], double),
        (None, [1], double),
    ]:
        for code in (40, 47, 60):
            refused([short(code, dtype, shape, data)])
    for code in (1, 26, 41, 45, 100):  # values of these rows have no short form
        refused([short(code, "<f8", [1], double)])
    for payload in (b"\0", b"\1", b"\xff<f8", b"\1\xc0", b"\3\x93\xc0\xc0" + double):
        refused([plain_msgpack.ExtType(40, payload)])


def test_many_kinds_of_short_forms_are_not_all_remembered():
    shapes = [[1, 0, n] for n in range(5000)]
    value = msgpack.loads(forge_value([short(40, "<f8", shape, b"") for shape in shapes]))
    assert [list(array.shape) for array in value] == shapes
    assert len(arrays._KINDS) <= 1000


def test_references_to_nothing_and_to_themselves():
    for number in (0, 1, 5, -1, 2**64 - 1, None, "0", 0.0):
        refused([tagged(100, number)])
    itself = tagged(40, "O", [1], [tagged(100, 0)])
    refused([itself])
    refused([array("<f8", [2], b"\0" * 16), tagged(40, "O", [1], [[tagged(100, 1)]])])


def test_an_error_tells_the_place():
    refused({"optimizer": {"state": [1, array("<f8", [3])]}}, match="at optimizer/state/1 ")
    refused({"a": tagged(7, {"b": tagged(27, 1, 0)})}, match="at a/b ")
    with pytest.raises(CorruptDataError) as error:
        msgpack.loads(forge(b"\x91\xc1"))
    assert error.value.offset == 41


# -------------------------------------------------------------------- values that would break in


def test_fields_beyond_their_element():
    # NumPy's own check of offsets overflows, and a copy of such an element crashes the process.
    for offset in (2**31 - 1, 2**31 - 4, -1, 9, 2**62, 2**70):
        fields = [["a", "|i1", 0, None], ["b", "<f4", offset, None]]
        try:
            value = [
                array(["struct", 8, False, fields], [2]),
                array(["struct", 8, True, fields], [2]),
            ]
            refused(value)
        except OverflowError:
            assert offset == 2**70


def test_objects_inside_of_bytes():
    for dtype in ("|O8", "|O", ["struct", 8, False, [["a", "O", 0, None]]], ["subarray", "O", [2]]):
        refused(array(dtype, [2], b"\x01" * 16))
    refused(array("O", [2], b"\x01" * 16))
    refused(tagged(41, "O", b"\x01" * 8))
    refused([array("O", [256], 0)], [b"\1" * 2048])


def test_dtype_strings_that_construct_objects():
    texts = "object O8 f8,O numpy:matrix os __class__ (1000000000,)f8 f8 =f8 |f8 <f8/7 f bool_"
    for text in [*texts.split(), "(2,)<f8", "<M8[xx]", "finfo", "sys"]:
        refused(array(text, [2]))


def test_random_states_that_read_beyond_their_buffer():
    state = np.random.MT19937(0).state
    for position in (625, -1, 2**31 - 1, 10**6):
        state["state"]["pos"] = position
        _refused_bits("MT19937", state)
    state = np.random.Philox(0).state
    for position in (5, -1, 10**6):
        state["buffer_pos"] = position
        _refused_bits("Philox", state)
    for seed in ([1], 5, None):
        refused(tagged(71, seed))
    refused(tagged(70, tagged(1, 3, tagged(1, *range(10)), None)))
    refused(tagged(70, tagged(1, 3, tagged(1, *[0] * 624, 10**6), None)))


def _refused_bits(name, state):
    packed = msgpack.dumps({"seed": None, "state": state})
    inner, blobs = parts_of(packed)
    tree = plain_msgpack.unpackb(inner)
    refused(tagged(74, name, tree["state"], None), blobs)


def test_seeds_that_take_forever():
    huge = tagged(4, b"\7" * 10**6)
    for entropy, key in (
        (huge, tagged(1)),
        ([0] * 10**5, tagged(1)),
        (0, tagged(1, huge)),
        (tagged(26, "1E+9999999"), tagged(1)),
        (0, tagged(1, *[0] * 10**5)),
    ):
        start = time.perf_counter()
        refused(tagged(73, entropy, key, 4, 0))
        assert time.perf_counter() - start < 1
    for pool in (0, 2**40, -1, "4"):
        refused(tagged(73, 0, tagged(1), pool, 0))


def test_keys_that_cannot_be_keys():
    for key in ([], {}, tagged(2, 1), array()):
        packer = plain_msgpack.Packer(autoreset=False)
        packer.pack_map_header(1)
        packer.pack(key)
        packer.pack(1)
        with pytest.raises(CorruptDataError):
            msgpack.loads(forge(packer.bytes()))


# ------------------------------------------------------------------------------ nothing is imported


def test_nothing_is_imported_for_a_document_full_of_references(monkeypatch):
    names = ["os:system", "subprocess:Popen", "antigravity:fly", "builtins:eval", "this:c", "x.y:z"]
    value = [
        *(tagged(13, name) for name in names),
        *(tagged(12, name, "MEMBER", 1) for name in names),
        *(tagged(11, name, ["a"], [1]) for name in names),
    ]
    data = forge_value(value)
    msgpack.loads(data)
    before = set(sys.modules)

    def forbidden(name, *rest, **options):
        raise AssertionError(f"{name} was imported")

    class Finder:
        find_spec = staticmethod(forbidden)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "meta_path", [Finder()])
        patch.setattr(builtins, "__import__", forbidden)
        loaded = msgpack.loads(data)
    assert set(sys.modules) == before
    references, enums, tuples = loaded[:6], loaded[6:12], loaded[12:]
    assert references == [Reference(name) for name in names]
    assert enums == [EnumValue(Reference(name), "MEMBER", 1) for name in names]
    assert tuples == [NamedTupleValue(Reference(name), ("a",), (1,)) for name in names]


def test_a_lazy_module_is_not_woken(monkeypatch):
    class Lazy(type(sys)):
        def __getattribute__(self, name):
            raise AssertionError(f"{name} was asked for")

    monkeypatch.setitem(sys.modules, "lazy_module", Lazy("lazy_module"))
    assert msgpack.loads(forge_value(tagged(12, "lazy_module:Enum", "A", 1))).value == 1


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
