"""Values that msgpack's packer takes for others are noticed, wherever they stand."""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgpack import Timestamp

from tests.formats import strategies
from tests.formats.comparing import assert_same
from tests.formats.strategies import Point
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.disguised import may_hold_disguised
from tune_ckpt.formats.wire import packb

any_size = settings(suppress_health_check=list(HealthCheck))

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
    assert_same(value, msgpack.loads(msgpack.dumps(value)))


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


@pytest.mark.parametrize("length", [0xC4, 0xC4C4, 0x1C4D4])
@pytest.mark.parametrize("before", range(6))
def test_no_length_hides_a_bytearray_where_it_is_read_in_two_parts(length, before):
    filler = "x" * (2**18 - 6 - before)  # the text's first byte is that far before the second part
    assert may_hold_disguised(packb([filler, "y" * length, bytearray(b"z")]))


plain_values = st.recursive(
    st.none() | st.booleans() | strategies.small_ints | strategies.floats | strategies.text,
    lambda inner: st.lists(inner) | st.dictionaries(strategies.text | strategies.small_ints, inner),
)


@any_size
@given(plain_values)
def test_plain_states_are_not_searched_value_by_value(state):
    assert not may_hold_disguised(packb(state))
    assert may_hold_disguised(packb([state, b"", state]))
