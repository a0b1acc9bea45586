"""Pickle: damage is reported, and pickles of other Pythons and Rays are read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle as std_pickle
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.formats.pickled import ARRAYS, PLAIN, TENSORS, Point, everything
from tests.formats.test_pickle_attacks import Attack
from tune_ckpt.errors import CorruptDataError, PickleReadError, TuneCkptError, UnsupportedStateError
from tune_ckpt.formats import pickle, pickle_build, pickle_harmless, pickle_tensors, pickle_torch
from tune_ckpt.formats.pickle import Opaque

CORPUS = Path(__file__).parents[2].parent / "shared/corpus"


def test_a_pickle_cut_short_anywhere_is_reported() -> None:
    data = std_pickle.dumps([PLAIN, ARRAYS["floats"], ARRAYS["strided"], Point(1)], 5)
    for end in range(len(data)):
        for read in (pickle.loads_restricted, pickle.loads_inert, pickle.loads):
            with pytest.raises(CorruptDataError):
                read(data[:end], file="x")


@pytest.mark.parametrize("seed", range(8))
def test_altered_bytes_give_a_value_or_our_error(seed: int) -> None:
    data = everything()
    generator = random.Random(seed)
    for _ in range(250):
        altered = bytearray(data)
        for _ in range(generator.choice((1, 1, 2, 8))):
            altered[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        for read in (pickle.loads_restricted, pickle.loads_inert, pickle.list_globals):
            with contextlib.suppress(TuneCkptError):
                read(bytes(altered), file="x")


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "sequence"])
def test_altered_files_of_torch_give_a_value_or_our_error(archive: bool) -> None:
    stream, generator = io.BytesIO(), random.Random(0)
    torch.save(TENSORS["float"], stream, _use_new_zipfile_serialization=archive)
    for _ in range(300):
        altered = bytearray(stream.getvalue())
        altered[generator.randrange(len(altered))] ^= 1 << generator.randrange(8)
        with contextlib.suppress(TuneCkptError):
            pickle.loads_inert(bytes(altered), file="x")


@pytest.mark.parametrize(
    "rest",
    [
        b"\x80\x02K\x03Q." + std_pickle.dumps([]),
        std_pickle.dumps(1) + std_pickle.dumps([[1]]),
        std_pickle.dumps(1) + std_pickle.dumps(["0"]) + b"\xff" * 8,
    ],
    ids=["no persistent id of torch's", "a key that is none", "data without end"],
)
def test_what_torch_never_saves_is_reported(rest: bytes) -> None:
    start = pickle_torch._MAGIC_PICKLE + std_pickle.dumps(1001) + std_pickle.dumps({})
    with pytest.raises(CorruptDataError, match="what torch saved cannot be read"):
        pickle.loads_inert(start + rest, file="x")


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
    calls = pickle_harmless.CALLS | pickle_tensors.calls_for_tensors("x")
    tables = pickle_build.Tables(pickle_tensors.VALUES_WITH_TORCH, calls)
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
    data = std_pickle.dumps([TENSORS["float"], Attack(json.loads, ("1",)), np.ones(2)])
    program = (
        "import sys; from tune_ckpt.formats import pickle\n"
        f"pickle.loads_inert({data!r}, file='x')\n"
        "print([m for m in ('torch', 'ray', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
