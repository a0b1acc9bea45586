"""Whether two arrays are equal, and by how much they differ."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tune_ckpt.tree.inspection.found import Array
from tune_ckpt.tree.inspection.looking import array_digest

_CHUNK = 2**16  # elements that are compared at a time


class Distance(NamedTuple):
    """How far two arrays are from each other; None where that is unknown or makes no sense."""

    max_abs: float | None
    max_rel: float | None


def same_elements(first: Array, second: Array) -> bool:
    """Say whether two arrays have the same dtype, shape and elements, to the bit.

    They are read only where one lies otherwise in memory than the other: then their digests tell
    nothing.
    """
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    if first.order == second.order:
        return first.digest() == second.digest()
    digests = (array_digest(np.ascontiguousarray(array.read())) for array in (first, second))
    return next(digests) == next(digests)


def distance(first: Array, second: Array) -> Distance:
    """Read two arrays and return how far they are from each other.

    Elements that are both NaN are equal; where one is, the distance is infinite.
    """
    if first.shape != second.shape or not (_is_number(first.dtype) and _is_number(second.dtype)):
        return Distance(None, None)
    a, b = first.read().reshape(-1), second.read().reshape(-1)
    largest = [0.0, 0.0]
    for start in range(0, a.size, _CHUNK):
        found = _distances(_wide(a[start : start + _CHUNK]), _wide(b[start : start + _CHUNK]))
        largest = [*map(max, largest, found)]
    return Distance(*largest)


def _is_number(dtype: np.dtype[Any]) -> bool:
    from_ml_dtypes = dtype.type.__module__.partition(".")[0] == "ml_dtypes"
    return dtype.kind in "biufc" or from_ml_dtypes


def _wide(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Long doubles hold every 64-bit integer (where the processor has them).
    kind = array.dtype.kind
    return array.astype("c16" if kind == "c" else "g" if kind in "iu" else "f8")


def _distances(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        gaps = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
        gaps = np.where(np.isnan(gaps), math.inf, gaps)
        relative = gaps / np.maximum(np.abs(a), np.abs(b))
    relative = np.where(gaps == 0, 0, np.where(np.isnan(relative), math.inf, relative))
    return float(gaps.max()), float(relative.max())
