"""Pickle: nothing is called that a pickle asks for."""

from __future__ import annotations

import collections
import copyreg
import datetime
import os
import pickle as std_pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.formats.pickled import PLAIN, TENSORS, Point, Stubborn, everything
from tune_ckpt.errors import CorruptDataError, TuneCkptError, UntrustedPickleError
from tune_ckpt.formats import pickle, pickle_torch
from tune_ckpt.formats.pickle_scan import scan


class Attack:
    def __init__(self, *reduction: Any) -> None:
        self.reduction = reduction

    def __reduce__(self) -> Any:
        return self.reduction


def touch(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


def _text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def _attacks(marker: Path) -> dict[str, tuple[bytes, str]]:
    code = touch(marker)
    shell = f"{sys.executable} -c {code!r}"
    call = _text(code) + b"\x85R"
    return {
        "os.system by REDUCE": (std_pickle.dumps(Attack(os.system, (shell,))), f"{os.name}:system"),
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
            std_pickle.dumps(Attack(list, (), None, None, None, None)).replace(b"list", b"exec"),
            "builtins:exec",
        ),
        "nested in harmless containers": (
            std_pickle.dumps({"a": [collections.deque([Attack(exec, (code,))])]}),
            "builtins:exec",
        ),
        "as a default factory": (
            std_pickle.dumps(Attack(collections.defaultdict, (breakpoint,))),
            "builtins:breakpoint",
        ),
        "the old way into torch": (
            std_pickle.dumps(Attack(torch.load, ("/nowhere",))),
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
    data = std_pickle.dumps([Stubborn(), Attack(exec, ("1",)), Attack(os.getcwd, ())])
    with pytest.raises(UntrustedPickleError) as refusal:
        pickle.loads_restricted(
            data, file="the file", allowed={"tests.formats.pickled:Stubborn": Stubborn}
        )
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
    data = b"\x80\x02\x82" + bytes([extension]) + _text(touch(marker)) + b"\x85R."
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
        data = std_pickle.dumps([PLAIN, Point(1), everything()], protocol)
        assert scan(b"ab" + data + b"more", 2).end == len(data) + 2


@pytest.mark.parametrize("place", range(4))
def test_attack_inside_a_torch_storage(place: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickles: list[Any] = [1001, {}, 1, []]
    pickles[place] = Attack(exec, (touch(marker),))
    evil = pickle_torch._MAGIC_PICKLE + b"".join(map(std_pickle.dumps, pickles))
    data = std_pickle.dumps(Attack(torch.storage._load_from_bytes, (evil,)))
    assert "builtins:exec" in pickle.list_globals(data, file="x")
    with pytest.raises(TuneCkptError):
        pickle.loads_restricted(data, file="x")
    pickle.loads_inert(data, file="x")
    assert not marker.exists()


def _reconstructed(*state: Any) -> Attack:
    return Attack(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)


# NumPy takes the memory that this names for an array's.
AN_ADDRESS = types.SimpleNamespace(
    __array_interface__={"data": (8, False), "shape": (2,), "typestr": "<f8", "version": 3}
)


def _struct(offset: int) -> Attack:
    fields = {"a": (np.dtype("i1"), 0), "b": (np.dtype("f4"), offset)}
    return Attack(np.dtype, ("V8", False, True), (3, "|", None, ("a", "b"), fields, 8, 1, 0))


def _bits_at(position: int) -> dict[str, Any]:
    state: Any = np.random.MT19937(0).state
    state["state"]["pos"] = position
    return dict(state)


FORGED: dict[str, Any] = {
    "an array of pointers": _reconstructed(1, (1,), np.dtype("O"), False, b"\x41" * 8),
    "a struct of pointers with its flags cleared": _reconstructed(
        1,
        (1,),
        Attack(
            np.dtype,
            ("V8", False, True),
            (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0),
        ),
        False,
        b"\x41" * 8,
    ),
    "a field behind the end": Attack(
        np.dtype,
        ("V8", False, True),
        (3, "|", None, ("a",), {"a": (np.dtype("f8"), 4096)}, 8, 1, 16),
    ),
    # NumPy's own check of it overflows.
    "a field far behind the end": _struct(2**31 - 2),
    "a field before the beginning": _struct(-1),
    "a dtype of what only has one": Attack(
        np.dtype, (types.SimpleNamespace(dtype=np.dtype("O")), False, True)
    ),
    "a dtype that only looks like one": _reconstructed(
        1,
        (1,),
        types.SimpleNamespace(hasobject=False, itemsize=8, dtype=np.dtype("O")),
        False,
        b"\x41" * 8,
    ),
    "another array's pointers as bytes": Attack(
        np._core.numeric._frombuffer,
        (np.array([None] * 8, object), np.dtype("u1"), (8,), "C"),
    ),
    "an address as the elements to set": Attack(
        np._core.multiarray._reconstruct,
        (np.ndarray, (0,), b"b"),
        (1, (2,), np.dtype("f8"), False, b"\0" * 16),
        None,
        iter([(slice(None), AN_ADDRESS)]),
    ),
    "an address as a fill value": Attack(
        np.ma.core._mareconstruct,
        (np.ma.MaskedArray, np.ndarray, (0,), "b"),
        (1, (1,), np.dtype("f8"), False, b"\0" * 8, b"\0", AN_ADDRESS),
    ),
    "an address as a field": _reconstructed(
        1, (1,), np.dtype([("a", "f8", (2,)), ("b", "O")]), False, [(AN_ADDRESS, None)]
    ),
    "an address as a seed": Attack(
        np.random._pickle.__bit_generator_ctor, ("PCG64",), (None, AN_ADDRESS)
    ),
    "a generator behind its buffer": Attack(
        np.random._pickle.__bit_generator_ctor, ("MT19937",), _bits_at(10**7)
    ),
    "an older generator behind its buffer": Attack(
        np.random._pickle.__randomstate_ctor,
        ("MT19937",),
        _bits_at(10**7) | {"has_gauss": 0, "gauss": 0.0},
    ),
    "a generator's state for another kind of generator": Attack(
        np.random._pickle.__generator_ctor, ("PCG64",), _bits_at(0)
    ),
    "an array longer than its bytes": _reconstructed(1, (4096,), np.dtype("f8"), False, b"\0" * 8),
    "a negative shape": _reconstructed(1, (-1, -1), np.dtype("u1"), False, b"\0"),
    "fewer objects than elements": _reconstructed(1, (9,), np.dtype("O"), False, [1]),
    "a scalar of pointers": Attack(np._core.multiarray.scalar, (np.dtype("O"), b"\x41" * 8)),
    "a huge seed pool": Attack(
        np.random.bit_generator.__pyx_unpickle_SeedSequence,
        (np.random.SeedSequence, 65708578, (1, 0, None, 2**40, ())),
    ),
    "no arguments": Attack(np._core.multiarray.scalar, ()),
    "a date of the wrong type": Attack(datetime.date, ("a", "b", "c")),
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
        forged = Attack(torch._utils._rebuild_tensor_v2, (typed, offset, size, stride, False, {}))
        with pytest.raises(CorruptDataError):
            pickle.loads_inert(std_pickle.dumps(forged), file="x")
