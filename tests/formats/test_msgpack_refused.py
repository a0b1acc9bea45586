"""What could not come back is refused before a byte is written: all of it, with path and reason."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, defaultdict, deque
from fractions import Fraction
from functools import partial

import msgpack as plain_msgpack
import numpy as np
import pytest

from tests.formats.strategies import Point
from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats import msgpack


class MyDict(dict):
    pass


class MyText(str):
    pass


class MyNumber(np.float32):
    pass


def a_generator():
    yield 1


REFUSED = {
    "subclass of a dict": (MyDict(a=1), "subclass of dict.*write dict"),
    "subclass of a str": (MyText("a"), "subclass of str.*write str"),
    "subclass of a NumPy scalar": (MyNumber(1), "MyNumber cannot be written"),
    "masked recarray": (np.ma.MaskedArray(np.rec.array([(1, 2)])), "over a recarray"),
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


def test_an_array_that_contains_itself_is_refused():
    array = np.empty(1, object)
    array[0] = [array]
    assert msgpack.check({"a": array}) == [Fault("a/0/0", "it contains itself")]
