"""Whatever a state holds comes back the same, down to types, bits, order, flags and aliases."""

from __future__ import annotations

import datetime as dt
import random
import re
import threading
from collections import OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from functools import partial

import msgpack as plain_msgpack
import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgpack import Timestamp

from tests.formats import strategies
from tests.formats.comparing import assert_same
from tests.formats.strategies import Color, Number, Point
from tune_ckpt.errors import (
    Fault,
    PartNotFoundError,
    UnsupportedStateError,
    UntrustedReferenceError,
)
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.disguised import may_hold_disguised
from tune_ckpt.formats.io import BytesSource
from tune_ckpt.formats.references import Reference
from tune_ckpt.formats.walking import Walk
from tune_ckpt.formats.wire import packb

any_size = settings(suppress_health_check=list(HealthCheck))


def round_trip(value, **options):
    return msgpack.loads(msgpack.dumps(value), **options)


@pytest.mark.parametrize("row", strategies.ROWS)
@any_size
@given(data=st.data())
def test_every_row_comes_back_the_same(row, data):
    value = data.draw(strategies.ROWS[row])
    assert_same(value, round_trip(value))


@any_size
@given(strategies.states)
def test_a_state_comes_back_the_same(state):
    assert_same(state, round_trip(state))


@any_size
@given(strategies.states)
def test_the_slow_walk_writes_the_same_bytes(state):
    document = msgpack.pack(state)
    walk = Walk(state)
    assert (walk.faults, walk.packed()) == ([], document._state)
    assert list(map(bytes, walk.blobs)) == list(map(bytes, document.blobs))


@any_size
@given(strategies.states)
def test_writing_what_was_read_gives_the_same_bytes(state):
    data = msgpack.dumps(state)
    assert msgpack.dumps(msgpack.loads(data)) == data


# -------------------------------------------------------------------------- what aliases what


def test_two_names_of_one_array_are_one_array_again():
    for array in (np.arange(3), np.arange(3000), np.ma.MaskedArray([1], [True])):
        loaded = round_trip({"a": array, "b": [array], "copy": array.copy()})
        assert loaded["a"] is loaded["b"][0]
        assert loaded["a"] is not loaded["copy"]


def test_shared_generators_stay_shared():
    python, legacy = random.Random(1), np.random.RandomState(2)
    numpy = np.random.default_rng(3)
    other = np.random.Generator(legacy._bit_generator)
    a, b, c, d, e, f, g = round_trip([python, legacy, numpy, python, legacy, numpy, other])
    assert (a, b, c) == (d, e, f)
    assert g.bit_generator is b._bit_generator
    assert (a.random(), b.random_sample()) == (python.random(), legacy.random_sample())
    assert c.random() == numpy.random()


def test_a_fill_value_that_numpy_invented_comes_back():
    array = np.ma.MaskedArray(np.ones(1, ">f8"), [True])
    assert array.fill_value == 1e20  # in the machine's own byte order, from now on
    assert array._fill_value.dtype == "<f8"
    assert_same(array, round_trip(array))


def test_an_array_that_contains_itself_is_refused():
    array = np.empty(1, object)
    array[0] = [array]
    assert msgpack.check({"a": array}) == [Fault("a/0/0", "it contains itself")]
    twice = np.array([None, (1, [2])], object)
    assert_same([twice, twice], round_trip([twice, twice]))


def test_what_is_loaded_is_writable_and_owns_its_memory():
    state = [np.arange(3), np.arange(3000), np.asfortranarray(np.ones((50, 50)))]
    for array in round_trip(state):
        array[:] = 0
        assert (array if array.base is None else array.base).flags.owndata


# ------------------------------------------------------------------------------ what is imitated

IMITATIONS = [
    {"__ndarray__": True},
    {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": [1], b"data": b"\0" * 8},
    {b"complex": True, b"data": "1+2j"},
    ["tune_ckpt", 1, 2, b"\0" * 16],
    [[b"", 1], ["ext", 1, b""]],
    [1, b"\xc7\x00\x01", "\xc7\x00\x01"],
    {"true": True, True: "true", "1": 1},
    [True, 1, 1.0, np.True_, np.int64(1), Decimal(1)],
    {(): None, (1,): None, (1.5, (b"",)): None, None: None, b"": None, "": None},
    {float("nan"): 1, -0.0: 2},
    {Color.RED: 1, Number.ONE: 2, Point(1, 2): 3, frozenset({1}): 4, dt.date(2026, 1, 1): 5},
]


@pytest.mark.parametrize("value", IMITATIONS, ids=str)
def test_no_value_passes_for_another(value):
    assert_same(value, round_trip(value))


DISGUISED = [
    (bytearray(b"x"),),
    [Point(bytearray(b"x"), [bytearray()])],
    {"a": deque([{"b": bytearray(b"y")}])},
    np.array([bytearray(b"x"), None], object),
    slice(bytearray(b"x"), None),
    OrderedDict(a=bytearray(b"x")),
    [float(i) for i in range(9)] + [{1: (2, [bytearray(b"")])}],
]


@pytest.mark.parametrize("value", DISGUISED, ids=str)
def test_a_bytearray_is_one_wherever_it_stands(value):
    assert_same(value, round_trip(value))


MARKED = [
    *range(0xC4, 0xCA),
    *range(0xD4, 0xE0),
]  # what is searched for
LENGTHS = [0, 1, 15, 16, 31, 32, *MARKED, *(code * 256 + 3 for code in MARKED), 0xC4C4, 0xD901]


@pytest.mark.parametrize("kind", [str, list, dict])
@pytest.mark.parametrize("length", LENGTHS)
def test_no_length_hides_a_bytearray(kind, length):
    filled = {
        str: lambda: "\xc4" + "x" * (length - 2),
        list: lambda: [7] * length,
        dict: lambda: dict.fromkeys(range(length)),
    }[kind]()
    for hidden in (bytearray(b""), bytearray(b"\xc1" * 300), memoryview(b""), Timestamp(1)):
        assert may_hold_disguised(packb([filled, {"a": hidden}, 1.5]))
        assert may_hold_disguised(packb([hidden, filled]))


plain_values = st.recursive(
    st.none() | st.booleans() | strategies.small_ints | strategies.floats | strategies.text,
    lambda inner: st.lists(inner) | st.dictionaries(strategies.text | strategies.small_ints, inner),
)


@any_size
@given(plain_values)
def test_plain_states_are_not_searched_value_by_value(state):
    assert not may_hold_disguised(packb(state))
    assert may_hold_disguised(packb([state, b"", state]))


class MyDict(dict):
    pass


class MyText(str):
    pass


def a_generator():
    yield 1


REFUSED = {
    "subclass of a dict": (MyDict(a=1), "subclass of dict.*write dict"),
    "subclass of a str": (MyText("a"), "subclass of str.*write str"),
    "matrix": (np.array([[1]]).view(np.matrix), "subclass of ndarray.*numpy.array"),
    "ext": (plain_msgpack.ExtType(1, b""), "ExtType"),
    "timestamp": (plain_msgpack.Timestamp(1), "to_datetime"),
    "memoryview": (memoryview(b"x"), "bytes\\(value\\)"),
    "lambda": (lambda: 1, "<lambda> cannot be imported"),
    "lock": (threading.Lock(), "_thread.lock"),
    "generator": (a_generator(), "read only once"),
    "method": ("".join, "cannot be imported"),
    "surrogate": ("\ud800", "surrogates"),
    "object field": (np.zeros(1, [("a", "O")]), "Python objects"),
    "metadata": (np.zeros(1, np.dtype("f8", metadata={"a": 1})), "metadata"),
    "factory": (defaultdict(lambda: 1), "factory"),
    "partial": (partial(int), "functools.partial"),
    "fraction": (Fraction(1, 2**100_001), "100000 bits"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: (x,), lambda x: {"k": [x]}, lambda x: Point(x)]
)
def test_what_cannot_come_back_is_refused_with_its_reason(name, wrap):
    value, reason = REFUSED[name]
    (fault,) = msgpack.check({"a": {"b": wrap(value)}})
    assert fault.path.startswith("a/b")
    assert re.search(reason, fault.reason)


def _faulty(file):
    """Keys and values of a state, each with where its fault is below the key."""
    circle: list = []
    circle.append({"again": circle})
    deep: list = []
    for _ in range(1500):
        deep = [deep]
    objects = np.empty((2, 2), object)
    objects[0, 1], objects[1, 0] = {"x": a_generator()}, print
    return [
        (
            "optimizer",
            {"param_groups": [{"lr_lambda": lambda step: step}]},
            "/param_groups/0/lr_lambda",
        ),
        ("lock", threading.Lock(), ""),
        ("file", file, ""),
        ("circle", circle, "/0/again"),
        ("deep", deep, "/0/0/0/0/0/0/..."),
        ("point", Point(1, lambda: 1), "/y"),
        ("objects", objects, "/0,1/x"),
        ("deque", deque([1, a_generator()]), "/1"),
        ("ordered", OrderedDict(a=a_generator()), "/a"),
        ("default", defaultdict(int, {5: a_generator()}), "/5"),
        ("tuple", (1, (a_generator(),)), "/1/0"),
        ((1, "key"), {None: a_generator()}, "/None"),
        ("text", "\udfff", ""),
    ]


def test_check_lists_everything_at_once_with_paths(tmp_path):
    with open(tmp_path / "file", "w") as file:
        rows = _faulty(file)
        faults = msgpack.check({**{key: value for key, value, _ in rows}, "fine": 1})
    assert [fault.path for fault in faults] == [f"{key}{below}" for key, _, below in rows]


def test_packing_raises_what_check_lists():
    state = {"a": a_generator(), "b": [print, a_generator()]}
    with pytest.raises(UnsupportedStateError) as error:
        msgpack.pack(state)
    assert [*error.value.faults] == [*msgpack.check(state)]
    assert [fault.path for fault in error.value.faults] == ["a", "b/1"]


def test_a_web_of_cycles_is_looked_at_once():
    nodes = [{} for _ in range(60)]
    for node in nodes:
        node.update(enumerate(nodes))
    assert msgpack.check(nodes)


def test_sets_in_sets_take_no_longer_than_their_size():
    value: frozenset = frozenset()
    for level in range(60):
        value = frozenset({level, value})
    assert round_trip(value) == value


def test_references_are_resolved_only_if_trusted():
    reference = round_trip({"cls": OrderedDict})["cls"]
    assert reference == Reference("collections:OrderedDict")
    assert reference.resolve(trusted=["collections:OrderedDict"]) is OrderedDict
    assert reference.resolve(trusted=[dict, OrderedDict]) is OrderedDict
    with pytest.raises(UntrustedReferenceError):
        reference.resolve(trusted=["collections:Counter"])
    assert round_trip(reference) == reference


def test_classes_that_are_gone_leave_stand_ins_that_are_written_back(monkeypatch):
    state = [Color.RED, Point(1, 2), {Color.GREEN: 1, Point(3, 4): 2}]
    data = msgpack.dumps(state)
    with monkeypatch.context() as patch:
        for gone in (Color, Point):
            patch.delattr(strategies, gone.__name__)
        stand_ins = msgpack.loads(data)
        assert (stand_ins[0].name, stand_ins[0].value) == ("RED", 1)
        assert msgpack.dumps(stand_ins) == data
    assert_same(state, msgpack.loads(msgpack.dumps(stand_ins)))


def test_equal_states_have_equal_bytes():
    dtype = np.dtype([("a", "i1"), ("b", "i8")], align=True)
    padded = [np.frombuffer(bytearray([fill] * 32), dtype) for fill in (0, 255)]
    for array in padded:
        array["a"], array["b"] = 1, 2
    assert msgpack.dumps(padded[0]) == msgpack.dumps(padded[1])
    assert msgpack.dumps({"a", "b", "c"}) == msgpack.dumps({"c", "b", "a"})


# ------------------------------------------------------------------------------- parts of a state


class Counting(BytesSource):
    def __init__(self, data):
        super().__init__(data)
        self.read = 0

    def read_into(self, offset, *buffers):
        self.read += sum(buffer.nbytes for buffer in buffers)
        super().read_into(offset, *buffers)


def many():
    first = np.arange(10_000.0)
    return {
        "optimizer": {"state": {0: {"m": first}, "a/b": [1, (2, first + 1)]}},
        "point": Point(deque([1, {"deep": 5}]), OrderedDict(k=first)),
        "rest": [first + index for index in range(20)],
    }


def test_one_part_reads_only_the_tree_and_its_blobs():
    data = msgpack.dumps(many())
    source = Counting(data)
    assert_same(many()["rest"][3], msgpack.load(source, at="rest/3"))
    whole = Counting(data)
    msgpack.read_tree(whole)
    assert source.read - whole.read < 80_000 + 200
    assert whole.read < 3_000


PARTS = {
    "": lambda state: state,
    "optimizer/state/0/m": lambda state: state["optimizer"]["state"][0]["m"],
    "optimizer/state/a/b": lambda state: state["optimizer"]["state"]["a/b"],
    "optimizer/state/a/b/1/1": lambda state: state["optimizer"]["state"]["a/b"][1][1],
    "point": lambda state: state["point"],
    "point/x/1/deep": lambda state: 5,
    "point/y/k": lambda state: state["point"].y["k"],  # shared with an array elsewhere
    "rest/0": lambda state: state["rest"][0],
}


@pytest.mark.parametrize("at", PARTS)
@pytest.mark.parametrize("mmap", [False, True])
def test_a_part_is_what_the_whole_has_there(at, mmap):
    assert_same(PARTS[at](many()), msgpack.loads(msgpack.dumps(many()), at=at, mmap=mmap))


def test_a_part_that_is_not_there():
    data = msgpack.dumps(many())
    with pytest.raises(PartNotFoundError, match="at optimizer, has no part 'stat'; there: state"):
        msgpack.loads(data, at="optimizer/stat")
    with pytest.raises(PartNotFoundError, match="there: nothing"):
        msgpack.loads(data, at="rest/0/5")


@any_size
@given(strategies.states)
def test_the_inert_tree_makes_the_same_state(state):
    assert_same(state, msgpack.loads(msgpack.dumps(state), at=""))


def test_the_inert_tree_tells_of_every_array():
    data = msgpack.dumps(
        many() | {"small": np.zeros((2, 0), ">i2"), "bf": [np.arange(4, dtype="i1")]}
    )
    found = {info.path: info for info in msgpack.read_tree(BytesSource(data)).arrays()}
    info = found["optimizer/state/0/m"]
    assert (info.kind, info.dtype, info.shape, info.nbytes) == ("ndarray", "<f8", (10_000,), 80_000)
    assert data[info.offset : info.offset + info.nbytes] == np.arange(10_000.0).tobytes()
    assert info.digest == xxhash.xxh3_128_hexdigest(np.arange(10_000.0).tobytes())
    assert found["small"].shape == (2, 0)
    assert found["bf/0"].offset is None
    assert "point/y/k" not in found  # it is optimizer/state/0/m again
    assert len(found) == 24
