"""Classes, functions and enum members stand in documents by name."""

from __future__ import annotations

import enum
from collections import OrderedDict

import pytest

from tests.formats import strategies
from tests.formats.comparing import assert_same
from tests.formats.strategies import Access, Color, Point
from tune_ckpt.errors import UntrustedReferenceError
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.references import EnumValue, Reference


def name(kind):
    return Reference(f"{kind.__module__}:{kind.__qualname__}")


def test_references_are_resolved_only_if_trusted():
    reference = msgpack.loads(msgpack.dumps(OrderedDict))
    assert reference == Reference("collections:OrderedDict")
    assert reference.resolve(trusted=["collections:OrderedDict"]) is OrderedDict
    assert reference.resolve(trusted=[dict, OrderedDict]) is OrderedDict
    with pytest.raises(UntrustedReferenceError):
        reference.resolve(trusted=["collections:Counter"])
    assert msgpack.loads(msgpack.dumps(reference)) == reference


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


class Pixel(Point, enum.Enum):
    ORIGIN = (0, 0)


def test_a_member_that_is_a_namedtuple_is_itself_again():
    assert msgpack.loads(msgpack.dumps(Pixel.ORIGIN)) is Pixel.ORIGIN


def test_a_combination_with_a_flag_that_is_gone_leaves_a_stand_in(monkeypatch):
    data = msgpack.dumps([Access.READ | Access.WRITE, Access(0)])
    poorer = enum.Flag("Access", {"READ": 1}, module=Access.__module__)
    monkeypatch.setattr(strategies, "Access", poorer)
    both, none = msgpack.loads(data)
    assert both == EnumValue(name(Access), None, 3)
    assert none is poorer(0)


@pytest.mark.parametrize("value", [2, 1.0, object()], ids=["other", "alike", "unwritable"])
def test_a_member_with_another_value_now_leaves_a_stand_in(monkeypatch, value):
    data = msgpack.dumps(Color.RED)
    changed = enum.Enum("Color", {"RED": value}, module=Color.__module__)
    monkeypatch.setattr(strategies, "Color", changed)
    assert msgpack.loads(data) == EnumValue(name(Color), "RED", 1)
