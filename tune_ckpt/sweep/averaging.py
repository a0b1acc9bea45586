"""The mean of several checkpoints' weights, often better than any one of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tune_ckpt.errors import CheckpointMismatchError, Fault, InvalidArgumentError
from tune_ckpt.objects.nested import items, rebuilt
from tune_ckpt.sweep.records import CheckpointRecord

Leaves = dict[tuple[Any, ...], Any]  # by the keys that lead there


def average_checkpoints(
    records: Iterable[CheckpointRecord | str | os.PathLike[str]],
    component: str | None = None,
    *,
    allow_pickle: bool = False,
) -> Any:
    """Return a state whose floating point arrays are the means of several checkpoints'.

    Arrays of integers, and whatever else is in the state, are those of the first record: counters
    and names have no mean. Sums are taken in double precision, one checkpoint at a time.

    Args:
        records: What to average, such as ``tune_ckpt.rank_checkpoints(results, "acc", k=5)``, or
            paths of checkpoints.
        component: Only this subcomponent, ``/`` between levels, such as ``"model"``.
        allow_pickle: Let pickles import and call what they name. Only for sweeps whose writer you
            trust.

    Returns:
        The state, of the same structure, shapes and dtypes as each.

    Raises:
        CheckpointMismatchError: Arrays are missing, or have another shape or dtype; all are
            listed.
        ComponentNotFoundError: A checkpoint has no such component.
        InvalidArgumentError: There is no record, or they are no list or the like, or the first of
            several has nothing to average.
        UntrustedPickleError: A pickle names more than harmless things.
    """
    from tune_ckpt.objects.states import load_state

    given = isinstance(records, Iterable) and not isinstance(records, str)
    found = list(records) if given else []
    if not found:
        raise InvalidArgumentError("records", records, ("a list of at least one checkpoint",))
    state = load_state(found[0], component, allow_pickle=allow_pickle)
    first = dict(_arrays(state))
    sums = {keys: _doubled(array) for keys, array in first.items() if _is_floating(array)}
    if not sums and len(found) > 1:
        expected = ("checkpoints with arrays of floating point numbers",)
        raise InvalidArgumentError("records", [_path(one) for one in found], expected)
    faults: list[Fault] = []
    for record in found[1:]:
        other = dict(_arrays(load_state(record, component, allow_pickle=allow_pickle)))
        where = _path(record)
        faults += [Fault(f"{where}: {f.path}", f.reason) for f in _mismatches(first, other)]
        if not faults:
            for keys in sums:
                sums[keys] += _doubled(other[keys])
    if faults:
        raise CheckpointMismatchError(_path(found[0]), tuple(faults))
    means = {keys: _like(total / len(found), first[keys]) for keys, total in sums.items()}
    return _replaced(state, means)


def _path(record: Any) -> str:
    return str(getattr(record, "path", record))


def _arrays(state: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the arrays and tensors in nested containers."""
    for key, value in items(state):
        yield from _arrays(value, (*keys, key))
    if isinstance(state, np.ndarray) or _is_tensor(state):
        yield keys, state


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # whoever holds a tensor has imported it
    return torch is not None and isinstance(value, torch.Tensor)


def _is_floating(value: Any) -> bool:
    if _is_tensor(value):
        return bool(value.is_floating_point() or value.is_complex())
    return value.dtype.kind in "fc" or value.dtype.name.startswith(("bfloat", "float"))


def _doubled(array: Any) -> Any:
    """Return a copy in double precision."""
    if _is_tensor(array):
        torch = sys.modules["torch"]
        wide = torch.complex128 if array.is_complex() else torch.float64
        return array.detach().to(wide, copy=True)
    wide = np.result_type(array.dtype, np.float64) if array.dtype.kind in "fc" else np.float64
    return array.astype(wide)


def _like(mean: Any, array: Any) -> Any:
    """Return a mean with the dtype of the array that it is of; a Parameter is one again."""
    if not _is_tensor(array):
        return np.asanyarray(mean).astype(array.dtype)
    tensor, torch = mean.to(array.dtype), sys.modules["torch"]
    if isinstance(array, torch.nn.Parameter):
        return torch.nn.Parameter(tensor, array.requires_grad)
    return tensor.requires_grad_(array.requires_grad)


def _mismatches(first: Leaves, other: Leaves) -> Iterator[Fault]:
    for keys in sorted(first.keys() | other.keys(), key=str):
        ours, theirs = (
            _kind(leaves[keys]) if keys in leaves else None for leaves in (first, other)
        )
        if ours != theirs:
            reason = f"{theirs or 'missing'}, but {ours or 'missing'} in the first"
            yield Fault("/".join(map(str, keys)), reason)


def _kind(array: Any) -> str:
    kind = "tensor of " if _is_tensor(array) else ""
    return f"{kind}{str(array.dtype).removeprefix('torch.')}{tuple(array.shape)}"


def _replaced(state: Any, means: Leaves, keys: tuple[Any, ...] = ()) -> Any:
    if keys in means:
        return means[keys]
    return rebuilt(state, lambda key, value: _replaced(value, means, (*keys, key)))
