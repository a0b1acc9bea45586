"""A state of many types, the same in every Python; and a strict comparison.

Run as a script with the path of a checkpoint, it loads the state and compares it, and with another
path, it saves the state there: that is how `tests.test_other_pythons` asks interpreters in which
Ray is not installed.
"""

from __future__ import annotations

import datetime as dt
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from uuid import UUID

import numpy as np


def values():
    """Return the state."""
    generator = np.random.default_rng(3)
    generator.random(5)
    python = random.Random(4)
    python.random()
    return {
        "none": None,
        "bools": [True, False],
        "ints": [0, -1, 2**63, 2**64 - 1, -(2**63), 2**64, -(2**100)],
        "floats": [0.0, -0.0, 1e-320, float("inf"), float("nan")],
        "complex": complex(-0.0, 2),
        "text": "größe \U0001f600",
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"abc"),
        "tuples": (1, (2, [3, ()])),
        "sets": [{1, 2, "a"}, frozenset({(1, 2), None})],
        "keys": {1: "int", 2.5: "float", (1, "a"): "tuple", b"b": "bytes", None: "none"},
        "bool key": {True: 1},
        "ordered": OrderedDict([("b", 1), ("a", (2,))]),
        "default": defaultdict(list, {"x": [1]}),
        "counter": Counter("aab"),
        "deque": deque([1, 2], maxlen=5),
        "times": [
            dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone.utc, fold=1),
            dt.date(2026, 1, 2),
            dt.time(1, 2, 3),
            dt.timedelta(days=-1, microseconds=1),
            dt.timezone(dt.timedelta(hours=2), "here"),
        ],
        "exact": [Decimal("1.50"), Fraction(1, 3), UUID(int=5), PurePosixPath("a/b")],
        "slices": [range(1, 9, 2), slice(None, 3), ...],
        "scalars": [np.float32(1.5), np.int8(-3), np.bool_(True), np.datetime64("2026-01-02")],
        "arrays": [
            np.arange(6, dtype=">i4").reshape(2, 3),
            np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            np.zeros((0, 3), "f2"),
            np.array(5),
            np.array(["a", "bcd"]),
            np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
            np.array([1, "x", (2, 3)], dtype=object)[:2],
            np.arange(3000).astype("M8[s]"),
        ],
        "random": [random.Random(1).getstate(), generator.bit_generator.state],
        "generators": [python, generator],
    }


def same(a, b):
    """Whether two values are equal to the bit, types included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return [*map(_key, a)] == [*map(_key, b)] and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple | deque):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        alike = (a.dtype, a.dtype.str, a.shape, a.flags.f_contiguous, b.flags.writeable)
        equal = a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
        return equal and alike == (b.dtype, b.dtype.str, b.shape, b.flags.f_contiguous, True)
    if isinstance(a, random.Random):
        return a.getstate() == b.getstate()
    if isinstance(a, np.random.Generator):
        return same(a.bit_generator.state, b.bit_generator.state)
    return repr(a) == repr(b) or a == b


def _key(key):
    return type(key), key


if __name__ == "__main__":
    import tune_ckpt

    loaded = tune_ckpt.load_state(sys.argv[1])
    expected = values()
    different = [name for name in expected if not same(loaded[name], expected[name])]
    assert not different, different
    assert loaded.keys() == expected.keys()
    assert not {"ray", "torch", "pyarrow", "cloudpickle"} & sys.modules.keys()
    for path in sys.argv[2:]:
        tune_ckpt.save_state(expected, path)
    print("equal")
