"""Pickle: classes that are allowed are made, all others become records."""

from __future__ import annotations

import collections
import functools
import pickle as std_pickle
import sys
import types
from typing import Any

import numpy as np
import pytest

from tests.formats.pickled import Colour, Grown, Pair, Point, Slotted, Stubborn
from tune_ckpt.errors import PickleReadError, TuneCkptError, UntrustedPickleError
from tune_ckpt.formats import pickle
from tune_ckpt.formats.pickle import Opaque


def _by_name(*classes: type) -> dict[str, type]:
    return {f"{cls.__module__}:{cls.__qualname__}": cls for cls in classes}


def test_allowed_classes_are_instantiated() -> None:
    slotted = Slotted()
    slotted.a, slotted.b = 1, [2]
    grown = Grown([1, 2])
    grown.extra = 3
    value = [Point(3), slotted, grown, Colour.RED, Pair(1, 2), Point, np.float32(1)]
    allowed = _by_name(Point, Slotted, Grown, Colour, Pair)
    point, slot, more, colour, pair, cls, _ = pickle.loads_restricted(
        std_pickle.dumps(value), file="x", allowed=allowed
    )
    assert (point.x, point.me) == (3, point)
    assert (slot.a, slot.b) == (1, [2])
    assert (more, more.extra) == ([1, 2], 3)
    assert colour is Colour.RED
    assert (pair, type(pair)) == ((1, 2), Pair)
    assert cls is Point


def test_a_module_may_be_named_as_one_of_python_2(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python's unpickler would look for commands.Run, of protocol 2, in subprocess.
    module = types.ModuleType("commands")
    module.Run = type("Run", (), {"__module__": "commands"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "commands", module)
    data = std_pickle.dumps(module.Run())
    made = pickle.loads_restricted(data, file="x", allowed={"commands:Run": module.Run})
    assert type(made) is module.Run


def test_a_class_that_is_not_allowed_is_refused_by_its_whole_name() -> None:
    with pytest.raises(UntrustedPickleError, match="pickled:Slotted"):
        pickle.loads_restricted(
            std_pickle.dumps([Point(1), Slotted()]), file="x", allowed=_by_name(Point)
        )


def test_an_allowed_class_that_fails_is_reported() -> None:
    data = std_pickle.dumps(Stubborn())
    with pytest.raises(PickleReadError, match=r"Stubborn failed \(KeyError"):
        pickle.loads_restricted(data, file="x", allowed=_by_name(Stubborn))


def test_a_pickle_cannot_change_an_allowed_class() -> None:
    # GLOBAL Point, then BUILD on the class itself with a slot state that would replace __init__.
    name = f"c{__name__}\nPoint\n".encode()
    data = b"\x80\x02" + name + b"N}X\x08\x00\x00\x00__init__cbuiltins\nlist\ns\x86b."
    before = dict(vars(Point))
    with pytest.raises(TuneCkptError):
        pickle.loads_restricted(data, file="x", allowed=_by_name(Point))
    assert dict(vars(Point)) == before


def test_unknown_objects_become_records() -> None:
    data = std_pickle.dumps({"p": Point(3), "c": Point, "f": functools.partial(max, 1)})
    back: Any = pickle.loads_inert(data, file="x")
    point = back["p"]
    assert (point.name, point.args, point.state["x"]) == ("Point", (), 3)
    assert point.state["me"] is point
    assert (back["c"].name, back["c"].args) == ("Point", None)
    assert back["f"].name == "partial"
    assert "pickled:Point" in repr(point)


def test_records_hold_items_and_may_be_keys() -> None:
    grown = Grown([1])
    counted = collections.defaultdict(Grown, a=1)
    data = std_pickle.dumps([grown, {Colour.RED: 1}, {Colour.RED}, counted])
    items, keyed, members, mapping = pickle.loads_inert(data, file="x")
    assert items.items == [1]
    assert [key.name for key in keyed] == ["Colour"]
    assert [member.args for member in members] == [(1,)]
    assert mapping == {"a": 1}
    assert isinstance(mapping["b"], Opaque)


def test_classes_and_functions_by_value_become_records() -> None:
    data = pickle.dumps(by_value())
    back: Any = pickle.loads_inert(data, file="x")
    assert isinstance(back["function"], Opaque)
    assert isinstance(back["instance"], Opaque)
    assert back["instance"].state == {"weights": pytest.approx(np.ones(2))}
    assert pickle.holds_opaque(back)


def by_value() -> dict[str, Any]:
    class Local:
        def __init__(self) -> None:
            self.weights = np.ones(2)

    return {"function": lambda x: x, "instance": Local(), "class": Local}


def test_holds_opaque_looks_everywhere() -> None:
    opaque = Opaque("m", "n")
    cycle: list[Any] = [1, {"a": (2,)}, np.ones(2)]
    cycle.append(cycle)
    assert not pickle.holds_opaque(cycle)
    hiding = [{opaque: 1}, ({"a": [opaque]},), {opaque}, collections.deque([opaque])]
    for value in [*hiding, np.array([opaque, 1], object)]:
        assert pickle.holds_opaque(value)
