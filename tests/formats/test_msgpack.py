"""Whatever a state holds comes back the same, down to types, bits, order, flags and aliases."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats import strategies
from tests.formats.comparing import assert_same
from tests.formats.strategies import Color, Number, Point
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.walking import Walk

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


@pytest.mark.parametrize("dtype", [">f8", "f2", "U9", "S2", "O", "M8[s]", "?", "i4,f8"])
def test_a_fill_value_that_numpy_invented_comes_back(dtype):
    array = np.ma.MaskedArray(np.zeros(1, dtype), [True])
    str(array.fill_value)  # kept from now on, often with another dtype than the array's
    assert array._fill_value is not None
    assert_same(array, round_trip(array))


def test_decimals_are_written_alike_in_every_context():
    expected = msgpack.dumps(Decimal("1E+5"))
    with localcontext() as context:
        context.capitals = 0
        data = msgpack.dumps(Decimal("1E+5"))
        assert_same(Decimal("1E+5"), msgpack.loads(data))
    assert data == expected


def test_an_array_of_objects_is_one_again():
    twice = np.array([None, (1, [2])], object)
    loaded = round_trip([twice, twice])
    assert_same([twice, twice], loaded)
    assert loaded[0] is loaded[1]


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


def test_sets_in_sets_take_no_longer_than_their_size():
    value: frozenset = frozenset()
    for level in range(60):
        value = frozenset({level, value})
    assert round_trip(value) == value


def test_equal_states_have_equal_bytes():
    dtype = np.dtype([("a", "i1"), ("b", "i8")], align=True)
    padded = [np.frombuffer(bytearray([fill] * 32), dtype) for fill in (0, 255)]
    for array in padded:
        array["a"], array["b"] = 1, 2
    assert msgpack.dumps(padded[0]) == msgpack.dumps(padded[1])
    assert msgpack.dumps({"a", "b", "c"}) == msgpack.dumps({"c", "b", "a"})
