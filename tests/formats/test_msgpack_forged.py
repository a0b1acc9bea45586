"""Attacks on the reader, named after what they try: each is refused, and nothing is imported."""

from __future__ import annotations

import builtins
import sys

import msgpack as plain_msgpack
import numpy as np
import pytest

from tests.formats.forging import (
    array,
    forge,
    forge_tree,
    forge_value,
    parts_of,
    refused,
    short,
    tagged,
)
from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.references import EnumValue, NamedTupleValue, Reference

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
    digest = b"x" * 16
    sizes = ([[size, digest]] for size in (0, -5, 2**63, "5", True))
    for table in (*sizes, [[5, b"x"]], [[5]], 7, {1: 2}):
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


@pytest.mark.parametrize("offset", [2**31 - 1, 2**31 - 4, -1, 9, 2**62])
@pytest.mark.parametrize("aligned", [False, True])
def test_fields_beyond_their_element(offset, aligned):
    # NumPy's own check of offsets overflows, and a copy of such an element crashes the process.
    fields = [["a", "|i1", 0, None], ["b", "<f4", offset, None]]
    refused(array(["struct", 8, aligned, fields], [2]))


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
