"""A document looked at without its values: it tells of its arrays, and makes what is asked for."""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.formats import strategies
from tests.formats.comparing import assert_same
from tests.formats.forging import forge_value, tagged, tree_of
from tests.formats.strategies import Color, Point
from tune_ckpt.errors import CorruptDataError, PartNotFoundError
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.document_reading import read_head
from tune_ckpt.formats.io import BytesSource
from tune_ckpt.formats.listing import ArrayInfo, list_arrays
from tune_ckpt.formats.making import make
from tune_ckpt.formats.parts import find_part


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
    source = Counting(msgpack.dumps(many()))
    read_head(source)
    assert source.read < 3_000
    assert_same(many()["rest"][3], msgpack.load(source, at="rest/3"))
    assert source.read < 2 * 3_000 + 80_000 + 200


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
    part = PARTS[at](many())
    assert_same(part, msgpack.loads(msgpack.dumps(many()), at=at, mmap=mmap))
    assert_same(part, find_part(many(), at, "state"))


def test_a_part_that_is_not_there():
    data = msgpack.dumps(many())
    with pytest.raises(PartNotFoundError, match="at optimizer, has no part 'stat'; there: state"):
        msgpack.loads(data, at="optimizer/stat")
    with pytest.raises(PartNotFoundError, match="there: nothing"):
        msgpack.loads(data, at="rest/0/5")


@settings(suppress_health_check=list(HealthCheck))
@given(strategies.states)
def test_the_inert_tree_makes_the_same_state(state):
    tree = tree_of(msgpack.dumps(state))
    assert_same(state, make(tree, tree.state))


def test_every_array_is_told_of_once():
    state = many() | {"small": np.zeros((2, 0), ">i2"), "few": [np.arange(4, dtype="i1")]}
    found = {info.path: info for info in list_arrays(tree_of(msgpack.dumps(state)))}
    assert found["optimizer/state/0/m"] == ArrayInfo(
        "optimizer/state/0/m", "ndarray", "<f8", (10_000,), 80_000
    )
    assert (found["small"].shape, found["small"].nbytes) == ((2, 0), 0)
    assert found["few/0"].nbytes == 4
    assert "point/y/k" not in found  # it is optimizer/state/0/m again
    assert len(found) == 24


def test_a_path_has_a_dicts_keys_as_python_shows_them():
    one = np.arange(1)
    state = {(1, "a"): {None: one.copy()}, Color.RED: one.copy(), 2**70: [one]}
    data = msgpack.dumps(state)
    paths = [info.path for info in list_arrays(tree_of(data))]
    assert paths == ["(1, 'a')/None", "<Color.RED: 1>", f"{2**70}/0"]
    assert [msgpack.loads(data, at=path) for path in paths] == [one] * 3
    with pytest.raises(PartNotFoundError, match=r"there: \(1, 'a'\), <Color\.RED: 1>, "):
        msgpack.loads(data, at="none")


def test_a_path_in_an_error_has_them_too():
    packed = forge_value({"a": [tagged(7, {"b": tagged(27, 1, 0)})]})
    with pytest.raises(CorruptDataError, match="at a/0/b "):
        msgpack.loads(packed)
    tree = tree_of(forge_value({"a": tagged(40, "<f8", None, b"")}))
    with pytest.raises(CorruptDataError, match="at a "):
        list(list_arrays(tree))
