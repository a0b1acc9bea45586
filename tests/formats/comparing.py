"""Whether two values are the same down to every type, bit, order, flag and alias."""

from __future__ import annotations

import datetime as dt
import random
import struct
import sys
from collections import OrderedDict, defaultdict, deque
from decimal import Decimal
from typing import Any

import numpy as np

from tune_ckpt.formats.dtypes import encode_dtype, unused_bytes
from tune_ckpt.formats.references import EnumValue, NamedTupleValue


class Difference(AssertionError):
    pass


def assert_same(left: Any, right: Any) -> None:
    _Comparison().compare(left, right, "")


def is_same(left: Any, right: Any) -> bool:
    try:
        assert_same(left, right)
    except Difference:
        return False
    return True


class _Comparison:
    def __init__(self) -> None:
        self.rights: dict[int, int] = {}
        self.lefts: dict[int, int] = {}
        self.kept: list[Any] = []

    def check(self, truth: bool, path: str, left: Any, right: Any) -> None:
        if not truth:
            raise Difference(f"{path or '(root)'}: {left!r} is not {right!r}")

    def alias(self, left: Any, right: Any, path: str) -> bool:
        """Pair two objects; return whether they were paired before."""
        known = id(left) in self.rights
        self.kept += [left, right]
        same = self.rights.setdefault(id(left), id(right)) == id(right)
        same &= self.lefts.setdefault(id(right), id(left)) == id(left)
        self.check(same, f"{path} (aliases)", left, right)
        return known

    def compare(self, left: Any, right: Any, path: str) -> None:
        self.check(type(left) is type(right), path, type(left), type(right))
        for kind, compare in _COMPARERS.items():
            if isinstance(left, kind):
                compare(self, left, right, path)
                return
        torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
        if torch and isinstance(left, torch.Tensor):
            self.tensors(left, right, path)
        elif torch and isinstance(left, torch.Generator):
            self.check(left.get_state().equal(right.get_state()), path, left, right)
        elif jax and isinstance(left, jax.Array):
            self.check(left.weak_type == right.weak_type, path, left.weak_type, right.weak_type)
            self.compare(np.array(left), np.array(right), path)
        else:
            self.check(repr(left) == repr(right) and left == right, path, left, right)

    def dicts(self, left: Any, right: Any, path: str) -> None:
        self.check(len(left) == len(right), path, len(left), len(right))
        if isinstance(left, defaultdict):
            self.check(left.default_factory is right.default_factory, path, left, right)
        if isinstance(left, OrderedDict):
            self.compare(vars(left), vars(right), f"{path}.__dict__")
        for (key, item), (other_key, other) in zip(left.items(), right.items(), strict=True):
            self.compare(key, other_key, f"{path}/key {key!r}")
            self.compare(item, other, f"{path}/{key!r}")

    def sequences(self, left: Any, right: Any, path: str) -> None:
        self.check(len(left) == len(right), path, len(left), len(right))
        if isinstance(left, deque):
            self.check(left.maxlen == right.maxlen, path, left.maxlen, right.maxlen)
        for index, (item, other) in enumerate(zip(left, right, strict=True)):
            self.compare(item, other, f"{path}/{index}")

    def sets(self, left: Any, right: Any, path: str) -> None:
        self.sequences(sorted(left, key=_rank), sorted(right, key=_rank), path)

    def floats(self, left: float, right: float, path: str) -> None:
        self.check(struct.pack("d", left) == struct.pack("d", right), path, left, right)

    def complexes(self, left: complex, right: complex, path: str) -> None:
        self.floats(left.real, right.real, path)
        self.floats(left.imag, right.imag, path)

    def dtypes(self, left: Any, right: Any, path: str) -> None:
        self.check(_dtype_code(left) == _dtype_code(right), path, left, right)

    def arrays(self, left: Any, right: Any, path: str) -> None:
        if self.alias(left, right, path):
            return
        self.dtypes(left.dtype, right.dtype, path)
        self.check(left.shape == right.shape, path, left.shape, right.shape)
        self.check(left.flags.writeable == right.flags.writeable, path, left.flags, right.flags)
        for order in ("c_contiguous", "f_contiguous"):
            was, now = getattr(left.flags, order), getattr(right.flags, order)
            self.check(was <= now or not left.nbytes, path, left.flags, right.flags)
        if left.dtype.hasobject:
            self.sequences(left.reshape(-1).tolist(), right.reshape(-1).tolist(), path)
        else:
            self.check(_bits(left) == _bits(right), path, left, right)

    def masked(self, left: Any, right: Any, path: str) -> None:
        if self.alias(left, right, path):
            return
        for attribute in ("data", "mask", "_fill_value", "hardmask"):
            self.compare(getattr(left, attribute), getattr(right, attribute), f"{path}.{attribute}")

    def texts(self, left: Any, right: Any, path: str) -> None:
        self.sequences(list(left), list(right), path)  # NumPy's comparison drops NULs at the end

    def scalars(self, left: Any, right: Any, path: str) -> None:
        self.arrays(np.array([left], left.dtype), np.array([right], right.dtype), path)

    def times(self, left: Any, right: Any, path: str) -> None:
        self.check(repr(left) == repr(right), path, left, right)  # with tzinfo and fold

    def decimals(self, left: Decimal, right: Decimal, path: str) -> None:
        self.check(left.as_tuple() == right.as_tuple(), path, left, right)

    def slices(self, left: slice, right: slice, path: str) -> None:
        for attribute in ("start", "stop", "step"):
            self.compare(getattr(left, attribute), getattr(right, attribute), path)

    def records(self, left: Any, right: Any, path: str) -> None:
        self.dicts(vars(left), vars(right), path)

    def randoms(self, left: Any, right: Any, path: str) -> None:
        if self.alias(left, right, path):
            return
        for attribute in ("_bit_generator", "bit_generator", "_seed_seq"):
            if (
                attribute == "_seed_seq"
                and getattr(left, attribute, 0) is None
                and not hasattr(left, "seed_seq")
            ):
                continue  # before NumPy 1.25 there is no way to have none again
            if hasattr(left, attribute):
                self.compare(getattr(left, attribute), getattr(right, attribute), path)
        for state in (_python_state, _legacy_state, _bits_state, _seed_state):
            self.compare(state(left), state(right), f"{path}.{state.__name__}")

    def tensors(self, left: Any, right: Any, path: str) -> None:
        if self.alias(left, right, path):
            return
        for attribute in ("dtype", "shape", "requires_grad", "device"):
            was, now = getattr(left, attribute), getattr(right, attribute)
            self.check(was == now, f"{path}.{attribute}", was, now)
        import torch

        if left.is_contiguous() or (left.ndim == 2 and left.t().is_contiguous()):
            was, now = (
                [step for step, size in zip(value.stride(), value.shape, strict=True) if size > 1]
                for value in (left, right)
            )
            self.check(was == now, path, was, now)
        raw = [
            torch.empty(value.numel(), dtype=value.dtype).copy_(value.detach().reshape(-1))
            for value in (left, right)
        ]
        bits = [value.view(torch.uint8).numpy().tobytes() for value in raw]
        self.check(bits[0] == bits[1], path, left, right)


def _rank(value: Any) -> tuple[str, str]:
    if isinstance(value, NamedTupleValue):
        return type(value).__name__, repr((value.cls, _rank(value.values)))
    if isinstance(value, tuple | set | frozenset):
        ranks = [_rank(item) for item in value]
        return type(value).__name__, repr(ranks if isinstance(value, tuple) else sorted(ranks))
    return type(value).__name__, repr(value)


def _dtype_code(dtype: Any) -> Any:
    return repr(encode_dtype(dtype)), dtype.type


def _bits(array: Any) -> bytes:
    raw = np.frombuffer(array.tobytes(), np.uint8)
    unused = unused_bytes(array.dtype)
    return (raw if unused is None else raw.reshape(-1, unused.size)[:, ~unused]).tobytes()


def _python_state(value: Any) -> Any:
    return value.getstate() if isinstance(value, random.Random) else None


def _legacy_state(value: Any) -> Any:
    return value.get_state(legacy=False) if isinstance(value, np.random.RandomState) else None


def _bits_state(value: Any) -> Any:
    return value.state if isinstance(value, np.random.BitGenerator) else None


def _seed_state(value: Any) -> Any:
    return value.state if isinstance(value, np.random.SeedSequence) else None


_RANDOM = (random.Random, np.random.RandomState, np.random.Generator)
_RANDOM += (np.random.BitGenerator, np.random.SeedSequence)
_COMPARERS: dict[Any, Any] = {
    np.ma.MaskedArray: _Comparison.masked,
    np.ndarray: _Comparison.arrays,
    (np.str_, np.bytes_): _Comparison.texts,
    np.generic: _Comparison.scalars,
    np.dtype: _Comparison.dtypes,
    dict: _Comparison.dicts,
    (list, tuple, deque): _Comparison.sequences,
    (set, frozenset): _Comparison.sets,
    float: _Comparison.floats,
    complex: _Comparison.complexes,
    (dt.datetime, dt.time): _Comparison.times,
    Decimal: _Comparison.decimals,
    slice: _Comparison.slices,
    (EnumValue, NamedTupleValue): _Comparison.records,
    _RANDOM: _Comparison.randoms,
}
