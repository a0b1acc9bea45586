"""Comparing values of any type: what changed, and what is equal though it compares oddly."""

import enum
import os
import random
import re
import shutil
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import tune_ckpt as tc
from tests.formats.strategies import states
from tests.portable_values import values
from tests.tree.changes import changes
from tune_ckpt.errors import UnsupportedStateError


def test_equal_states_of_many_types_are_equal(differ):
    found = differ(values(), values())
    assert str(found).endswith("equal")
    assert found.equal
    assert found.to_dict()["equal"] is True


def test_what_was_added_removed_and_changed_is_listed(differ):
    before = {"w": np.zeros(500), "gone": np.zeros(3), "step": 1, "old": "x", "same": [1, 2]}
    after = {"w": np.ones(500), "new": np.zeros((2, 2)), "step": 2, "extra": None, "same": [1, 2]}
    found = differ(before, after)
    assert sorted(changes(found)) == [
        ("added", "extra"),
        ("added", "new"),
        ("changed", "step"),
        ("changed", "w"),
        ("removed", "gone"),
        ("removed", "old"),
    ]
    step = next(item for item in found.values if item.path == "step")
    assert (step.before, step.after) == (1, 2)
    new = next(item for item in found.arrays if item.path == "new")
    assert new.before is None
    assert (new.after.dtype, new.after.shape) == ("float64", (2, 2))
    assert not found.equal


def test_what_is_long_and_differs_in_the_middle_is_not_shown_as_two_that_are_alike(differ):
    found = differ({"code": b"a" * 50 + b"b" * 50}, {"code": b"a" * 51 + b"b" * 49})
    assert re.search(r"changed value code: b'a.*b' in both, as far as it is shown$", str(found))


def test_where_only_values_differ_the_arrays_are_told_to_be_equal(differ):
    told = "no array differs, only other values do"
    assert told in str(differ({"w": np.ones(3), "step": 1}, {"w": np.ones(3), "step": 2}))
    assert told not in str(differ({"w": np.ones(3), "step": 1}, {"w": np.ones(4), "step": 2}))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ((1, 2), [1, 2]),
        ([], {}),
        (b"a", bytearray(b"a")),
        (np.float32(1), np.float64(1)),
        (2**70, 2**70 + 1),
        (range(3), range(4)),
        (None, 0),
        ("x", ["x"]),
        (np.ones(3), [1.0, 1.0, 1.0]),
    ],
    ids=repr,
)
def test_values_of_other_types_or_bits_are_changes(differ, before, after):
    assert ("changed", "x") in changes(differ({"x": before}, {"x": after}))


@pytest.mark.parametrize("value", [float("nan"), {"a", "b", "c"}, frozenset({(1, 2)}), {1: {}}])
def test_values_that_compare_oddly_are_equal_to_themselves(differ, value):
    assert differ({"x": value}, {"x": value}).equal


class Point(NamedTuple):
    x: int
    y: int


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def test_named_tuples_members_of_enums_and_classes_are_compared(differ):
    before = {"at": Point(1, 2), "color": Color.RED, "kind": dict}
    assert differ(before, before).equal
    found = differ(before, {"at": Point(1, 3), "color": Color.BLUE, "kind": list})
    assert {path.partition("/")[0] for _, path in changes(found)} == {"at", "color", "kind"}


def test_members_of_sets_are_told_one_by_one(differ):
    found = differ({"tags": {"a", "b", 1}}, {"tags": {"a", "c", 1}})
    assert changes(found) == [("removed", "tags/b"), ("added", "tags/c")]


def test_keys_are_told_apart_by_type(differ):
    found = differ({"x": {1: "a", "1": "b"}}, {"x": {1: "a", "1": "c"}})
    (change,) = found.values
    assert (change.before, change.after) == ("b", "c")


def test_the_order_of_keys_is_no_difference(differ):
    assert differ({"a": 1, "b": 2}, {"b": 2, "a": 1}).equal


def test_a_pickle_that_contains_itself_comes_to_an_end(tmp_path):
    cycle = [1]
    cycle.append({"again": cycle})
    tc.save_state({"x": cycle}, tmp_path / "a", format="pickle")
    tc.save_state({"x": [1, {"again": 2}]}, tmp_path / "b", format="pickle")
    assert tc.diff(tmp_path / "a", tmp_path / "a").equal
    found = tc.diff(tmp_path / "a", tmp_path / "b")
    assert changes(found) == [("changed", "x/1/again")]


def test_objects_in_pickles_are_compared_and_not_made(tmp_path):
    class Evil:
        def __init__(self, number):
            self.number = number

        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "called"), self.number)

    for name, number in (("a", 1), ("b", 2)):
        tc.save_state({"x": Evil(number)}, tmp_path / name, format="pickle")
    (change,) = tc.diff(tmp_path / "a", tmp_path / "b").values
    assert (change.path, change.before, change.after) == ("x/1", 1, 2)
    assert not (tmp_path / "called").exists()


def test_generators_are_compared_by_their_states(differ):
    def drawn(count):
        generators = [np.random.default_rng(1), np.random.RandomState(1), random.Random(1)]
        for generator in generators:
            for _ in range(count):
                generator.random()
        return {"g": generators}

    assert differ(drawn(5), drawn(5)).equal
    assert {path.split("/")[1] for _, path in changes(differ(drawn(5), drawn(6)))} == {*"012"}


def _shown(value):
    try:
        return repr(value)
    except ValueError:  # NumPy cannot show some of its own
        return "Reference"


# Our own stand-ins for unknown classes, and time zones by name, which pickles hold as objects that
# are read inertly; big-endian masked arrays, which NumPy fills with another dtype.
_LEFT_OUT = re.compile("Reference|ZoneInfo|masked")


@pytest.mark.slow
@settings(suppress_health_check=list(HealthCheck))
@given(states.filter(lambda state: not _LEFT_OUT.search(_shown(state))))
def test_any_state_is_equal_in_both_formats(tmp_path_factory, state):
    folder = tmp_path_factory.mktemp("diff")
    try:
        tc.save_state({"x": state}, folder / "a")
        tc.save_state({"x": state}, folder / "b", format="pickle")
    except UnsupportedStateError:
        return
    assert str(tc.diff(folder / "a", folder / "b")).endswith("equal")
    shutil.rmtree(folder)
