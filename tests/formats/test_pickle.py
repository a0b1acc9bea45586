"""The pickle format: round trips, attacks, damage, and real pickles of other Pythons."""

from __future__ import annotations

import collections
import contextlib
import copyreg
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import io
import json
import os
import pathlib
import pickle as std_pickle
import random
import subprocess
import sys
import threading
import types
import uuid
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from tune_ckpt.errors import (
    CorruptDataError,
    MissingDependencyError,
    PickleReadError,
    TuneCkptError,
    UnsupportedStateError,
    UntrustedPickleError,
)
from tune_ckpt.formats import pickle, pickle_build, pickle_harmless, pickle_torch
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.pickle_scan import scan

CORPUS = Path(__file__).parents[2].parent / "shared/corpus"
PROTOCOLS = (2, 3, 4, 5)


class Point:
    """An ordinary class, with state."""

    def __init__(self, x: int) -> None:
        self.x = x
        self.me = self


class Slotted:
    __slots__ = ("a", "b")


class Grown(list):  # type: ignore[type-arg]
    """A container with an attribute."""


class Colour(enum.Enum):
    RED = 1


Pair = collections.namedtuple("Pair", "a b")


class Stubborn:
    def __setstate__(self, state: object) -> None:
        raise KeyError("no")

    def __getstate__(self) -> object:
        return {"a": 1}


# --------------------------------------------------------------------------------- round trips


def _ordered_with_attribute() -> collections.OrderedDict[str, int]:
    value = collections.OrderedDict(b=1, a=2)
    value._metadata = {"version": 1}  # type: ignore[attr-defined]
    return value


PLAIN: dict[str, Any] = {
    "numbers": [1, -(2**70), 1.5, True, None, 1 + 2j],
    "text": ["a", "ü", b"bytes", bytearray(b"mutable")],
    "containers": {"t": (1, (2,)), "s": {1, 2}, "f": frozenset({3}), (1, 2): []},
    "collections": [
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, a=[1]),
        collections.Counter("aab"),
        collections.deque([1, 2], 3),
    ],
    "times": [
        datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
        datetime.date(2024, 1, 1),
        datetime.time(1, 2, 3, 4),
        datetime.timedelta(days=1, microseconds=1),
    ],
    "exact numbers": [decimal.Decimal("1.10"), fractions.Fraction(1, 3)],
    "ids and paths": [uuid.UUID(int=5), pathlib.Path("/a/b"), pathlib.PureWindowsPath("c:/x")],
    "odds": [range(1, 9, 2), slice(1, None, 2), Ellipsis, NotImplemented, int, dict],
    "namespace": types.SimpleNamespace(a=1),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", PLAIN)
def test_plain_values_come_back_equal_from_every_reader(name: str, protocol: int) -> None:
    value = PLAIN[name]
    data = std_pickle.dumps(value, protocol)
    for read in (pickle.loads, pickle.loads_restricted, pickle.loads_inert):
        back = read(data, file="x")
        assert back == value
        assert repr(back) == repr(value)


def test_what_is_made_of_an_unknown_object_is_unknown_too() -> None:
    value = [datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), 1]
    moment, one = pickle.loads_inert(pickle.dumps(value), file="x")  # type: ignore[misc]
    assert (moment.name, moment.args[1].name, one) == ("datetime", "getattr()", 1)


def test_dumps_and_loads() -> None:
    data = pickle.dumps({"f": lambda x: x + 1})
    assert data[:2] == b"\x80\x05"
    assert pickle.loads(memoryview(data), file="x")["f"](1) == 2  # type: ignore[index]


def test_attributes_of_an_ordered_dict_come_back() -> None:
    data = std_pickle.dumps(_ordered_with_attribute())
    back: Any = pickle.loads_restricted(data, file="x")
    assert back == {"b": 1, "a": 2}
    assert back._metadata == {"version": 1}


def test_shared_and_cyclic_containers_keep_their_identity() -> None:
    shared: list[Any] = [np.float32(1)]
    cycle: list[Any] = [shared, shared]
    cycle += [cycle, (cycle, {"again": cycle})]
    back: Any = pickle.loads_restricted(std_pickle.dumps(cycle), file="x")
    assert back[0] is back[1]
    assert back[2] is back
    assert back[3][0] is back
    assert back[3][1]["again"] is back


ARRAYS: dict[str, Any] = {
    "floats": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12).reshape(3, 4)[:, ::2],
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "0-d": np.array(1.5),
    "empty": np.zeros((0, 3), np.int8),
    "big-endian": np.arange(3, dtype=">i4"),
    "bool": np.array([True, False]),
    "half": np.array([1.5], np.float16),
    "complex": np.array([1 + 2j]),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "datetime": np.array(["2024-01-01", "NaT"], "M8[25s]"),
    "timedelta": np.array([1, 2], "m8[ns]"),
    "void": np.array([b"abc"], "V3"),
    "struct": np.array([(1, (2.0, 3.0))], [("a", "<i4"), ("b", ">f8", (2,))]),
    "aligned": np.zeros(2, np.dtype([("a", "i1"), (("title", "b"), "f8")], align=True)),
    "objects": np.array([1, "a", [2], None, np.array(3)], object),
    "object matrix": np.asfortranarray(np.array([[1, "a"], [None, 2]], object)),
    "struct of objects": np.array([(1, "x")], [("a", "i4"), ("b", "O")]),
    "bfloat16": np.arange(3).astype(ml_dtypes.bfloat16),
    "records": np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "masked": np.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]], fill_value=9),
    "varied text": np.array(["a", "bc"], np.dtypes.StringDType()),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_equal_and_writable(name: str, protocol: int) -> None:
    array = ARRAYS[name]
    data = std_pickle.dumps({"a": array}, protocol)
    for read in (pickle.loads_restricted, pickle.loads_inert):
        back: Any = read(data, file="x")["a"]  # type: ignore[index]
        assert type(back) is type(array)
        assert back.dtype == array.dtype
        assert back.dtype.metadata == array.dtype.metadata
        assert back.dtype.isalignedstruct == array.dtype.isalignedstruct
        assert back.flags.writeable
        assert back.flags.f_contiguous == std_pickle.loads(data)["a"].flags.f_contiguous
        np.testing.assert_array_equal(back, array)
        assert repr(back) == repr(array)


@pytest.mark.parametrize(
    "scalar",
    [
        *(np.float32(1.5), np.int64(-1), np.bool_(True), np.str_("ab"), np.bytes_(b"ab")),
        *(np.str_(""), np.datetime64("2024-01-01", "ns"), np.timedelta64(3, "h")),
        *(np.longdouble(1) / 3, np.array([(1, 2.0)], "i4,f8")[0], ml_dtypes.bfloat16(2)),
        np.array([(1, "x")], [("a", "i4"), ("b", "O")])[0],
    ],
    ids=repr,
)
def test_scalars_come_back_with_their_type(scalar: Any) -> None:
    for read in (pickle.loads_restricted, pickle.loads_inert):
        back: Any = read(std_pickle.dumps(scalar), file="x")
        assert type(back) is type(scalar)
        assert back.dtype == scalar.dtype
        assert back == scalar


@pytest.mark.parametrize(
    "dtype", ["f8", ">f8", "U5", "M8[ns]", "V7", "i4,f8", "O"], ids=lambda d: f"dtype {d}"
)
def test_dtypes_come_back(dtype: str) -> None:
    assert pickle.loads_restricted(std_pickle.dumps(np.dtype(dtype)), file="x") == np.dtype(dtype)


def test_dtypes_keep_their_metadata() -> None:
    dtype = np.dtype("f8", metadata={"unit": "m"})  # type: ignore[call-overload]
    back: Any = pickle.loads_restricted(std_pickle.dumps(dtype), file="x")
    assert dict(back.metadata) == {"unit": "m"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_generators_continue_to_the_bit(protocol: int) -> None:
    python, modern, legacy = random.Random(1), np.random.default_rng(2), np.random.RandomState(3)
    others = [np.random.Generator(kind(4)) for kind in (np.random.Philox, np.random.SFC64)]
    python.random(), modern.random(3, np.float32), legacy.normal()
    data = std_pickle.dumps([python, modern, legacy, *others], protocol)
    for read in (pickle.loads_restricted, pickle.loads_inert):
        back: Any = read(data, file="x")
        expected = std_pickle.loads(data)
        assert back[0].random() == expected[0].random()
        assert back[2].normal() == expected[2].normal()
        for mine, theirs in zip(back[1:2] + back[3:], expected[1:2] + expected[3:], strict=True):
            assert mine.random() == theirs.random()
            assert mine.spawn(1)[0].random() == theirs.spawn(1)[0].random()


TENSORS: dict[str, Any] = {
    "float": torch.arange(6.0).reshape(2, 3),
    "transposed": torch.arange(6).reshape(2, 3).T,
    "part": torch.arange(10.0)[3:7:2],
    "0-d": torch.tensor(3),
    "empty": torch.zeros(0, 2),
    "bool": torch.tensor([True, False]),
    "complex": torch.tensor([1 + 2j]),
    "bfloat16": torch.tensor([1.5, -3.0], dtype=torch.bfloat16),
    "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
    "float8": torch.tensor([1.5], dtype=torch.float8_e4m3fn),
    "parameter": torch.nn.Parameter(torch.ones(2)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_are_tensors_restricted_and_arrays_inertly(name: str) -> None:
    tensor = TENSORS[name]
    data = std_pickle.dumps({"t": tensor, "size": tensor.shape}, 5)
    restricted: Any = pickle.loads_restricted(data, file="x")
    assert type(restricted["t"]) is type(tensor)
    assert restricted["t"].requires_grad == tensor.requires_grad
    assert restricted["t"].dtype == tensor.dtype
    assert restricted["t"].tolist() == tensor.tolist()
    assert restricted["size"] == tensor.shape
    inert: Any = pickle.loads_inert(data, file="x")
    assert isinstance(inert["t"], np.ndarray)
    assert inert["t"].dtype.name == str(tensor.dtype).removeprefix("torch.")
    assert inert["t"].astype(object).tolist() == tensor.tolist()
    assert inert["t"].flags.writeable
    assert inert["size"] == tuple(tensor.shape)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "sequence"])
def test_files_of_torch_are_read_inertly(archive: bool) -> None:
    stream = io.BytesIO()
    state = {"w": TENSORS["transposed"], "v": TENSORS["transposed"], "step": 3, "n": np.float32(1)}
    torch.save(state, stream, _use_new_zipfile_serialization=archive)
    back: Any = pickle.loads_inert(stream.getvalue(), file="x")
    assert back["w"].tolist() == state["w"].tolist()
    assert back["step"] == 3
    assert "torch._utils:_rebuild_tensor_v2" in pickle.list_globals(stream.getvalue(), file="x")


def test_bfloat16_is_widened_where_ml_dtypes_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = std_pickle.dumps([TENSORS["bfloat16"], TENSORS["float8"], ARRAYS["bfloat16"]])
    alone = std_pickle.dumps(ARRAYS["bfloat16"])
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    tensor, float8, array = pickle.loads_inert(data, file="x")  # type: ignore[misc]
    assert tensor.dtype == np.float32
    assert tensor.tolist() == [1.5, -3.0]
    assert isinstance(float8, Opaque)
    assert isinstance(array, Opaque)
    with pytest.raises(MissingDependencyError, match="ml_dtypes"):
        pickle.loads_restricted(alone, file="x")


def test_tensors_without_torch_are_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = std_pickle.dumps(TENSORS["float"])
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert pickle.loads_inert(data, file="x").shape == (2, 3)  # type: ignore[attr-defined]
    with pytest.raises(MissingDependencyError, match="torch"):
        pickle.loads_restricted(data, file="x")


# ------------------------------------------------------------------------- classes that are allowed


def test_allowed_classes_are_instantiated() -> None:
    slotted = Slotted()
    slotted.a, slotted.b = 1, [2]
    grown = Grown([1, 2])
    grown.extra = 3  # type: ignore[attr-defined]
    value = [Point(3), slotted, grown, Colour.RED, Pair(1, 2), Point, np.float32(1)]
    allowed = [Point, Slotted, Grown, Colour, Pair]
    point, slot, more, colour, pair, cls, _ = pickle.loads_restricted(  # type: ignore[misc]
        std_pickle.dumps(value), file="x", allowed=allowed
    )
    assert (point.x, point.me) == (3, point)
    assert (slot.a, slot.b) == (1, [2])
    assert (more, more.extra) == ([1, 2], 3)
    assert colour is Colour.RED
    assert (pair, type(pair)) == ((1, 2), Pair)
    assert cls is Point


def test_a_class_that_is_not_allowed_is_refused_by_its_whole_name() -> None:
    with pytest.raises(UntrustedPickleError, match="test_pickle:Slotted"):
        pickle.loads_restricted(std_pickle.dumps([Point(1), Slotted()]), file="x", allowed=[Point])


def test_an_allowed_class_that_fails_is_reported() -> None:
    data = std_pickle.dumps(Stubborn())
    with pytest.raises(PickleReadError, match=r"Stubborn failed \(KeyError"):
        pickle.loads_restricted(data, file="x", allowed=[Stubborn])


def test_a_pickle_cannot_change_an_allowed_class() -> None:
    # GLOBAL Point, then BUILD on the class itself with a slot state that would replace __init__.
    name = f"c{__name__}\nPoint\n".encode()
    data = b"\x80\x02" + name + b"N}X\x08\x00\x00\x00__init__cbuiltins\nlist\ns\x86b."
    before = dict(vars(Point))
    with pytest.raises(TuneCkptError):
        pickle.loads_restricted(data, file="x", allowed=[Point])
    assert dict(vars(Point)) == before


# ------------------------------------------------------------------------------------ inert records


def test_unknown_objects_become_records() -> None:
    data = std_pickle.dumps({"p": Point(3), "c": Point, "f": functools.partial(max, 1)})
    back: Any = pickle.loads_inert(data, file="x")
    point = back["p"]
    assert (point.name, point.args, point.state["x"]) == ("Point", (), 3)
    assert point.state["me"] is point
    assert (back["c"].name, back["c"].args) == ("Point", None)
    assert back["f"].name == "partial"
    assert "test_pickle:Point" in repr(point)


def test_records_hold_items_and_may_be_keys() -> None:
    grown = Grown([1])
    counted = collections.defaultdict(Grown, a=1)
    data = std_pickle.dumps([grown, {Colour.RED: 1}, {Colour.RED}, counted])
    items, keyed, members, mapping = pickle.loads_inert(data, file="x")  # type: ignore[misc]
    assert items.items == [1]
    assert [key.name for key in keyed] == ["Colour"]
    assert [member.args for member in members] == [(1,)]
    assert mapping == {"a": 1}
    assert isinstance(mapping["b"], Opaque)


def test_classes_and_functions_by_value_become_records() -> None:
    data = pickle.dumps(_by_value())
    back: Any = pickle.loads_inert(data, file="x")
    assert isinstance(back["function"], Opaque)
    assert isinstance(back["instance"], Opaque)
    assert back["instance"].state == {"weights": pytest.approx(np.ones(2))}
    assert pickle.holds_opaque(back)


def _by_value() -> dict[str, Any]:
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


# ------------------------------------------------------------------------------------------ attacks


class _Attack:
    def __init__(self, *reduction: Any) -> None:
        self.reduction = reduction

    def __reduce__(self) -> Any:
        return self.reduction


def _touch(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


def _text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def _attacks(marker: Path) -> dict[str, tuple[bytes, str]]:
    code = _touch(marker)
    shell = f"{sys.executable} -c {code!r}"
    call = _text(code) + b"\x85R"
    return {
        "os.system by REDUCE": (
            std_pickle.dumps(_Attack(os.system, (shell,))),
            f"{os.name}:system",
        ),
        "eval by GLOBAL": (b"\x80\x02cbuiltins\neval\n" + call + b".", "builtins:eval"),
        "exec by STACK_GLOBAL": (
            b"\x80\x04" + _text("builtins") + _text("exec") + b"\x93" + call + b".",
            "builtins:exec",
        ),
        "STACK_GLOBAL of memoized strings": (
            b"\x80\x04" + _text("exec") + b"\x94" + _text("builtins") + b"\x94"
            b"00h\x01h\x00\x93" + call + b".",
            "builtins:exec",
        ),
        "a dotted path into a harmless module": (
            b"\x80\x04" + _text("numpy") + _text("dtype.__init__.__globals__") + b"\x93.",
            "numpy:dtype.__init__.__globals__",
        ),
        "a dotted path into a harmless class": (
            b"\x80\x04" + _text("uuid") + _text("os.system") + b"\x93" + _text(shell) + b"\x85R.",
            "uuid:os.system",
        ),
        "getattr chain": (
            b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\n"
            + _text("os")
            + b"\x85R"
            + _text("system")
            + b"\x86R"
            + _text(shell)
            + b"\x85R.",
            "builtins:getattr",
        ),
        "INST": (b"(" + _text(code) + b"ibuiltins\nexec\n.", "builtins:exec"),
        "OBJ": (b"(cbuiltins\nexec\n" + _text(code) + b"o.", "builtins:exec"),
        "a state's setter": (
            std_pickle.dumps(_Attack(list, (), None, None, None, None)).replace(b"list", b"exec"),
            "builtins:exec",
        ),
        "nested in harmless containers": (
            std_pickle.dumps({"a": [collections.deque([_Attack(exec, (code,))])]}),
            "builtins:exec",
        ),
        "as a default factory": (
            std_pickle.dumps(_Attack(collections.defaultdict, (breakpoint,))),
            "builtins:breakpoint",
        ),
        "the old way into torch": (
            std_pickle.dumps(_Attack(torch.load, ("/nowhere",))),
            "torch.serialization:load",
        ),
        "a persistent id": (b"\x80\x02" + _text("x") + b"Q.", "pickle:persistent_load"),
    }


NAMES = list(_attacks(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_attack(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data, culprit = _attacks(marker)[name]
    assert culprit in pickle.list_globals(data, file="x")
    with pytest.raises(UntrustedPickleError) as refusal:
        pickle.loads_restricted(data, file="x")
    assert culprit in refusal.value.names
    pickle.loads_inert(data, file="x")
    assert not marker.exists()


def test_the_attacks_would_work(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for name in ("os.system by REDUCE", "exec by STACK_GLOBAL", "getattr chain", "INST", "OBJ"):
        std_pickle.loads(_attacks(marker)[name][0])
        assert marker.exists(), name
        marker.unlink()


def test_a_refusal_lists_everything_and_makes_nothing() -> None:
    data = std_pickle.dumps([Stubborn(), _Attack(exec, ("1",)), _Attack(os.getcwd, ())])
    with pytest.raises(UntrustedPickleError) as refusal:
        pickle.loads_restricted(data, file="the file", allowed=[Stubborn])
    assert refusal.value.names == ("builtins:exec", f"{os.name}:getcwd")
    assert "the file" in str(refusal.value)


@pytest.fixture
def extension() -> Iterator[int]:
    copyreg.add_extension("builtins", "exec", 240)
    yield 240
    copyreg.remove_extension("builtins", "exec", 240)


@pytest.mark.parametrize("used_before", [False, True])
def test_attack_by_the_extension_registry(
    extension: int, used_before: bool, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    data = b"\x80\x02\x82" + bytes([extension]) + _text(_touch(marker)) + b"\x85R."
    if used_before:
        std_pickle.loads(data)  # from now on the unpickler has it cached
        marker.unlink()
    assert pickle.list_globals(data, file="x") == ("builtins:exec",)
    for read in (pickle.loads_restricted, pickle.loads_inert):
        with pytest.raises(UntrustedPickleError, match="builtins:exec"):
            read(data, file="x")
    assert not marker.exists()


def test_an_extension_that_nobody_registered_is_refused_too() -> None:
    with pytest.raises(UntrustedPickleError, match="copyreg:extension 513"):
        pickle.loads_inert(b"\x80\x02\x83\x01\x02.", file="x")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # room for two billion memos
        b"Np2147483647\n.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",  # a bytearray of a terabyte
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.",
    ],
    ids=["LONG_BINPUT", "PUT", "BYTEARRAY8", "BINBYTES8"],
)
def test_memory_out_of_proportion_is_refused(data: bytes) -> None:
    for read in (pickle.loads_restricted, pickle.loads_inert, pickle.list_globals):
        with pytest.raises(CorruptDataError, match=r"memo number|cut short"):
            read(data, file="x")


def test_the_walk_over_opcodes_ends_where_the_unpickler_does() -> None:
    for protocol in range(6):
        data = std_pickle.dumps([PLAIN, Point(1), _everything()], protocol)
        assert scan(b"ab" + data + b"more", 2).end == len(data) + 2


def test_attack_inside_a_torch_storage(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    evil = pickle_torch._MAGIC_PICKLE + std_pickle.dumps(_Attack(exec, (_touch(marker),))) * 4
    data = std_pickle.dumps(_Attack(torch.storage._load_from_bytes, (evil,)))
    assert "builtins:exec" in pickle.list_globals(data, file="x")
    with pytest.raises(TuneCkptError):
        pickle.loads_restricted(data, file="x")
    pickle.loads_inert(data, file="x")
    assert not marker.exists()


def _reconstructed(*state: Any) -> _Attack:
    return _Attack(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)


FORGED: dict[str, Any] = {
    "an array of pointers": _reconstructed(1, (1,), np.dtype("O"), False, b"\x41" * 8),
    "a struct of pointers with its flags cleared": _reconstructed(
        1,
        (1,),
        _Attack(
            np.dtype,
            ("V8", False, True),
            (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0),
        ),
        False,
        b"\x41" * 8,
    ),
    "a field behind the end": _Attack(
        np.dtype,
        ("V8", False, True),
        (3, "|", None, ("a",), {"a": (np.dtype("f8"), 4096)}, 8, 1, 16),
    ),
    "an array longer than its bytes": _reconstructed(1, (4096,), np.dtype("f8"), False, b"\0" * 8),
    "a negative shape": _reconstructed(1, (-1, -1), np.dtype("u1"), False, b"\0"),
    "fewer objects than elements": _reconstructed(1, (9,), np.dtype("O"), False, [1]),
    "a scalar of pointers": _Attack(np._core.multiarray.scalar, (np.dtype("O"), b"\x41" * 8)),
    "a huge seed pool": _Attack(
        np.random.bit_generator.__pyx_unpickle_SeedSequence,
        (np.random.SeedSequence, 65708578, (1, 0, None, 2**40, ())),
    ),
    "no arguments": _Attack(np._core.multiarray.scalar, ()),
    "a date of the wrong type": _Attack(datetime.date, ("a", "b", "c")),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_record(name: str) -> None:
    data = std_pickle.dumps(FORGED[name])
    for read in (pickle.loads_restricted, pickle.loads_inert):
        with pytest.raises(CorruptDataError, match="malformed"):
            read(data, file="x")


def test_a_tensor_cannot_reach_beyond_its_storage() -> None:
    storage = TENSORS["float"].untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    for offset, size, stride in ((4, (3,), (1,)), (0, (2, 2), (100, 1)), (3, (2,), (-8,))):
        forged = _Attack(torch._utils._rebuild_tensor_v2, (typed, offset, size, stride, False, {}))
        with pytest.raises(CorruptDataError):
            pickle.loads_inert(std_pickle.dumps(forged), file="x")


# ------------------------------------------------------------------------------------------- damage


def _everything() -> bytes:
    parts = [*PLAIN.values(), *ARRAYS.values(), np.random.default_rng(1), Point(1)]
    return std_pickle.dumps([*parts, TENSORS["float"], _by_value()["class"].__name__], 5)


def test_a_pickle_cut_short_anywhere_is_reported() -> None:
    data = std_pickle.dumps([PLAIN, ARRAYS["floats"], ARRAYS["strided"], Point(1)], 5)
    for end in range(len(data)):
        for read in (pickle.loads_restricted, pickle.loads_inert, pickle.loads):
            with pytest.raises(CorruptDataError):
                read(data[:end], file="x")


@pytest.mark.parametrize("seed", range(8))
def test_altered_bytes_give_a_value_or_our_error(seed: int) -> None:
    data = _everything()
    generator = random.Random(seed)
    for _ in range(250):
        altered = bytearray(data)
        for _ in range(generator.choice((1, 1, 2, 8))):
            altered[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        for read in (pickle.loads_restricted, pickle.loads_inert, pickle.list_globals):
            with contextlib.suppress(TuneCkptError):
                read(bytes(altered), file="x")


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00", b"hello", b"{}", b".", b"PK\x03\x04zip", b"(" * 99]
)
def test_garbage_is_reported(garbage: bytes) -> None:
    for read in (pickle.loads, pickle.loads_restricted, pickle.loads_inert, pickle.list_globals):
        with pytest.raises(CorruptDataError, match="the file"):
            read(garbage, file="the file")


def test_a_missing_class_is_reported_by_the_full_reader() -> None:
    data = std_pickle.dumps(Point(1)).replace(b"Point", b"Paint")
    with pytest.raises(PickleReadError, match="Paint"):
        pickle.loads(data, file="x")


def test_nesting_without_end_is_reported() -> None:
    value: list[Any] = []
    for _ in range(20_000):
        value = [value]
    data = b"\x80\x02" + b"]" * 20_000 + b"cbuiltins\nobject\n" + b"a" * 20_000 + b"."
    with pytest.raises(PickleReadError, match="nested too deeply"):
        pickle.loads_inert(data, file="x")


def test_what_cannot_be_pickled_is_reported() -> None:
    with pytest.raises(UnsupportedStateError, match="cannot be pickled"):
        pickle.dumps(threading.Lock())


def test_the_tables_are_harmless() -> None:
    words = ("eval", "exec", "compile", "import", "getattr", "system", "open", "load", "partial")
    calls = pickle_harmless.CALLS | pickle_torch.calls_for_tensors("x")
    tables = pickle_build.Tables(pickle_torch.VALUES_WITH_TORCH, calls)
    known = {*tables.values, *tables.calls} - {"torch.storage:_load_from_bytes"}
    assert not [name for name in known for word in words if word in name.lower()]
    assert not tables.know("builtins:type")


# ------------------------------------------------------------------------------------- real pickles


def _arrays(value: Any) -> Iterator[Any]:
    seen: dict[int, Any] = {}
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, np.ndarray):
            yield part
        elif isinstance(part, Opaque):
            waiting += [part.args, part.kwargs, part.state, part.items, part.pairs]
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part


def _weights(expected: Any) -> Iterator[tuple[str, tuple[int, ...], str]]:
    if isinstance(expected, dict) and "sha256" in expected:
        yield expected["dtype"], tuple(expected["shape"]), expected["sha256"]
    elif isinstance(expected, dict):
        for value in expected.values():
            yield from _weights(value)


def _cases() -> list[Path]:
    # Not the formats without pickles, and not the one that pickles a pickle.
    found = sorted(CORPUS.glob("ray*")) if CORPUS.is_dir() else []
    return [case for case in found if case.is_dir() and any(case.rglob("*.pkl"))]


@pytest.mark.parametrize("case", _cases() or [None], ids=lambda case: getattr(case, "name", "-"))
def test_pickles_of_other_pythons_yield_their_weights(case: Path | None) -> None:
    if case is None:
        pytest.skip("no corpus of real checkpoints beside this checkout")
    files = [path for path in case.rglob("*") if path.suffix in (".pkl", ".pt")]
    found = {
        (str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest())
        for path in files
        for array in _arrays(pickle.loads_inert(path.read_bytes(), file=str(path)))
    }
    expected = json.loads((case / "expected.json").read_text())
    if "msgpack" not in case.name and "module" not in case.name:
        assert set(_weights(expected.get("weights", {}))) <= found


def test_reading_inertly_imports_nothing() -> None:
    data = std_pickle.dumps([TENSORS["float"], _Attack(json.loads, ("1",)), np.ones(2)])
    program = (
        "import sys; from tune_ckpt.formats import pickle\n"
        f"pickle.loads_inert({data!r}, file='x')\n"
        "print([m for m in ('torch', 'ray', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
