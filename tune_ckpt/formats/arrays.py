"""NumPy arrays as a row of the typed dialect.

An array's parts are ``[dtype, shape, data, order?, read-only?]``. ``data`` is a blob's number, the
bytes themselves for a small array, or a list of the elements where they are Python objects.
``order`` lists the axes from the slowest to the fastest in memory where that is not C order (so
Fortran order stays Fortran order).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.formats.dtypes import decode_dtype
from tune_ckpt.formats.extensions import ADVICE, Row, expect, register
from tune_ckpt.formats.short_form import described

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing
    from tune_ckpt.formats.unpacking import Unpacking

Array = npt.NDArray[Any]
_MAX_DIMENSIONS = 64

# ------------------------------------------------------------------------------------- writing


def raw_bytes(array: Array) -> memoryview:
    """Return the memory of a C-contiguous array as bytes, shared with the array."""
    return array.reshape(-1).view(np.uint8).data if array.nbytes else memoryview(bytearray())


def in_memory_order(array: Array) -> tuple[Array, list[int] | None]:
    """Return the array with its axes in memory order, C-contiguous, and that order of axes.

    The order is None where it is C order. Only an array with gaps in its memory is copied.
    """
    if array.flags.c_contiguous:
        return array, None
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    straight = np.ascontiguousarray(array.transpose(order))
    return straight, None if order == list(range(array.ndim)) else order


def write_array(array: Array, packing: Packing) -> list[Any]:
    """Return the parts of an array."""
    code, unused = packing.dtype(array.dtype)
    straight, order = in_memory_order(array)
    if unused is not None:
        straight = with_zeros(straight, unused)
    if array.dtype.hasobject:
        data = packing.guard(straight.reshape(-1).tolist(), _indices(array.shape, order))
        parts = [code, list(array.shape), data]
    else:
        parts = [code, list(array.shape), packing.array_data(straight)]
    if not array.flags.writeable:
        return [*parts, order, True]
    return parts if order is None else [*parts, order]


def with_zeros(straight: Array, unused: npt.NDArray[np.bool_]) -> Array:
    """Return a copy of a C-contiguous array, with zeros in the bytes that mean nothing."""
    clean = straight.copy()
    if clean.nbytes:
        clean.reshape(-1).view(np.uint8).reshape(-1, unused.size)[:, unused] = 0
    return clean


def _indices(shape: tuple[int, ...], order: list[int] | None) -> Iterator[str]:
    axes = list(range(len(shape))) if order is None else order
    for place in np.ndindex(*(shape[axis] for axis in axes)):
        yield ",".join(str(place[axes.index(axis)]) for axis in range(len(shape)))


# ------------------------------------------------------------------------------------- reading


def read_array(
    unpacking: Unpacking,
    code: Any,
    shape: Any,
    data: Any,
    order: Any = None,
    read_only: bool = False,
) -> Array:
    """Return the array of these parts."""
    array = unpacking.array(decode_dtype(code), shape, data, order)
    if read_only:
        array.flags.writeable = False
    return array


class _Kinds(dict[bytes, tuple[np.dtype[Any], tuple[int, ...], int]]):
    """Dtype, shape and size of the arrays with a description, by that description.

    A dict with a way to fill itself: the quickest look-up that Python has.
    """

    def __missing__(self, description: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
        code, shape = described(description)
        dtype = decode_dtype(expect(str, code))
        if dtype.hasobject:
            raise ValueError("an array of objects in the short form")
        if len(self) == _MOST_KINDS:
            self.clear()
        found = self[description] = dtype, checked_shape(shape), nbytes_of(shape, dtype)
        return found


_MOST_KINDS = 1000
_KINDS = _Kinds()


def read_short(payload: bytes) -> Array:
    """Return the array of a short form's payload, in few calls: there may be very many.

    Raises:
        ValueError: It is not one.
    """
    start = 1 + payload[0]
    dtype, shape, nbytes = _KINDS[payload[:start]]
    if len(payload) != start + nbytes:
        raise ValueError(f"{len(payload) - start} bytes instead of {nbytes} for an array")
    array: Array = np.ndarray(shape, dtype, payload, start)
    return array.copy() if nbytes else np.empty(shape, dtype)


def array_of_bytes(dtype: np.dtype[Any], shape: Any, data: bytes, order: Any = None) -> Array:
    """Return a new array that holds ``data``.

    Raises:
        ValueError: ``shape`` or ``order`` are not what a writer writes, or not for so many bytes.
    """
    if len(data) != nbytes_of(shape, dtype):
        raise ValueError(f"{len(data)} bytes for an array of shape {shape} and dtype {dtype}")
    array, straight = empty_array(dtype, shape, order)
    raw_bytes(straight)[:] = data
    return array


def array_of_objects(dtype: np.dtype[Any], shape: Any, items: list[Any], order: Any) -> Array:
    """Return a new array that holds ``items``.

    Raises:
        ValueError: ``shape`` or ``order`` are not what a writer writes.
    """
    if len(items) != math.prod(checked_shape(shape)):
        raise ValueError(f"{len(items)} elements for an array of shape {shape}")
    array, straight = empty_array(dtype, shape, order)
    flat = straight.reshape(-1)
    # Not flat[:] = items, which would unpack sequences.
    flat[:] = np.fromiter(items, object, len(items)) if dtype.kind == "O" else items
    return array


def empty_array(dtype: np.dtype[Any], shape: Any, order: Any) -> tuple[Array, Array]:
    """Return a new array, and the same memory as a C-contiguous array to be filled.

    Raises:
        ValueError: ``shape`` or ``order`` are not what a writer writes.
    """
    shape = checked_shape(shape)
    if order is None:
        array = np.empty(shape, dtype)
        return array, array
    _check_order(order, shape)
    if order == list(range(len(shape)))[::-1]:
        array = np.empty(shape, dtype, order="F")
        return array, array.T
    straight = np.empty([shape[axis] for axis in order], dtype)
    return straight.transpose(np.argsort(order)), straight


def mapped_array(
    dtype: np.dtype[Any], shape: Any, order: Any, memory: memoryview, offset: int
) -> Array:
    """Return an array over memory that is there already.

    Raises:
        ValueError: ``shape`` or ``order`` are not what a writer writes.
    """
    shape = checked_shape(shape)
    if order is None:
        return np.ndarray(shape, dtype, memory, offset)
    _check_order(order, shape)
    straight: Array = np.ndarray([shape[axis] for axis in order], dtype, memory, offset)
    return straight.transpose(np.argsort(order))


def _check_order(order: Any, shape: tuple[int, ...]) -> None:
    axes = [expect(int, axis) for axis in expect(list, order)]
    if sorted(axes) != list(range(len(shape))):
        raise ValueError(f"an order of {len(order)} axes for an array of shape {shape}")


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape read from a document as a tuple.

    Raises:
        ValueError: It is not a list of sizes, or they are beyond any memory.
    """
    if type(shape) is not list or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("a shape that is not a list, or too long")
    if any(type(size) is not int or not 0 <= size < 2**62 for size in shape):
        raise ValueError("a shape with something in it that is not a size")
    if math.prod(max(size, 1) for size in shape) >= 2**62:
        raise ValueError(f"the shape {shape} is too large")
    return tuple(shape)


def nbytes_of(shape: Any, dtype: np.dtype[Any]) -> int:
    """Return how many bytes an array has.

    Raises:
        ValueError: ``shape`` is not a shape.
    """
    return math.prod(checked_shape(shape)) * dtype.itemsize


ADVICE[np.ndarray] = "numpy.array(value), or value.copy() for a memory map"
register(
    Row(40, "ndarray", write_array, read_array, id, is_array=True, read_short=read_short),
    np.ndarray,
)
