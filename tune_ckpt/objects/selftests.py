"""Self-tests: what an object computed when it was saved, it must compute when it is restored.

An object that has a method ``selftest()`` returns there, in dicts, lists and tuples, arrays and
numbers that follow from its state alone: the outputs of a model for a few fixed inputs, say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import Fault
from tune_ckpt.objects.random_generators import undisturbed


def run_selftest(value: Any) -> Any:
    """Return what an object's self-test returns, as NumPy arrays; None where it has none.

    Random generators are as they were, afterwards.
    """
    selftest = getattr(value, "selftest", None)
    if not callable(selftest):
        return None
    with undisturbed():
        return _as_arrays(selftest())


def _as_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_arrays(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_arrays(part) for part in value]
    if hasattr(value, "detach"):
        value = _on_host(value.detach().cpu())
    return np.asarray(value).copy()  # nobody changes it before it is written


_WIDENED = {"torch.bfloat16", "torch.float8_e4m3fn", "torch.float8_e5m2"}


def _on_host(tensor: Any) -> Any:
    # NumPy lacks these, and float32 holds every number that they have.
    return (tensor.float() if str(tensor.dtype) in _WIDENED else tensor).numpy()


def differences(value: Any, stored: Any, tolerance: float | None) -> Iterator[Fault]:
    """Yield where an object's self-test returns something other than the stored arrays.

    Args:
        value: The object.
        stored: What its self-test returned before.
        tolerance: How large a difference may be, absolutely or relatively to the stored number; by
            default what the object's ``selftest_tolerance`` says, and else none at all.
    """
    allowed = getattr(value, "selftest_tolerance", 0.0) if tolerance is None else tolerance
    try:
        now = run_selftest(value)
    except Exception as error:  # noqa: BLE001  # whatever its code raises is told with the rest
        yield Fault("selftest()", f"it raised {type(error).__name__}: {error}")
    else:
        yield from _compare(now, stored, "selftest()", float(allowed))


def _compare(now: Any, stored: Any, path: str, tolerance: float) -> Iterator[Fault]:
    if isinstance(now, np.ndarray) and isinstance(stored, np.ndarray):
        reason = _difference(now, stored, tolerance)
        if reason:
            yield Fault(path, reason)
        return
    ours, theirs = _parts(now), _parts(stored)
    if ours.keys() != theirs.keys():
        yield Fault(path, f"it returns {_listed(ours)}, and returned {_listed(theirs)}")
        return
    for key, part in ours.items():
        yield from _compare(part, theirs[key], f"{path}/{key}", tolerance)


def _parts(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    return dict(enumerate(value)) if isinstance(value, list) else {"an array": value}


def _listed(parts: dict[Any, Any]) -> str:
    return ", ".join(map(str, parts)) or "nothing"


def _difference(now: npt.NDArray[Any], stored: npt.NDArray[Any], tolerance: float) -> str | None:
    if (now.shape, now.dtype) != (stored.shape, stored.dtype):
        return f"it is {now.dtype} {now.shape}, and was {stored.dtype} {stored.shape}"
    now, stored = _widened(now), _widened(stored)
    if now.dtype.kind not in "fc":
        wrong = now != stored
        if now.dtype.kind in "mM":  # a time that is none does not equal itself
            wrong &= ~(np.isnat(now) & np.isnat(stored))
        return _counted(wrong, now, stored) if wrong.any() else None
    with np.errstate(all="ignore"):
        gaps = np.where(
            (now == stored) | (np.isnan(now) & np.isnan(stored)), 0, np.abs(now - stored)
        )
        sizes = np.where(np.isfinite(stored), np.maximum(1, np.abs(stored)), 1)
        wrong = ~(gaps <= tolerance * sizes)  # NaN is never within it
    if not wrong.any():
        return None
    largest = f"by up to {np.nanmax(gaps):.6g}" if np.isfinite(gaps).any() else "by NaN"
    return f"{_counted(wrong, now, stored)}, {largest}; the tolerance is {tolerance:g}"


def _widened(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Of ml_dtypes' numbers, such as jax has, NumPy does not know that they are some.
    is_float = array.dtype.kind == "V" and "float" in array.dtype.name
    return array.astype(np.float32) if is_float else array


def _counted(wrong: Any, now: npt.NDArray[Any], stored: npt.NDArray[Any]) -> str:
    first = tuple(int(index) for index in np.argwhere(wrong)[0])
    where = f"{list(first)}" if first else "the number"
    return (
        f"{int(wrong.sum())} of {wrong.size} differ, first {where}: "
        f"{now[first]!s} instead of {stored[first]!s}"
    )
