"""NumPy arrays, scalars and dtypes as rows of the typed dialect.

An array's parts are ``[dtype, shape, data, order?, read-only?]``. ``data`` is a blob's number, the
bytes themselves for a small array, or a list of the elements where they are Python objects.
``order`` lists the axes from the slowest to the fastest in memory where that is not C order (so
Fortran order stays Fortran order).
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.formats.extensions import Refused, Row, register, unpacked

if TYPE_CHECKING:
    from tune_ckpt.formats.msgpack import Packing, Unpacking

Array = npt.NDArray[Any]

# -------------------------------------------------------------------------------------- dtypes

_PLAIN = re.compile(r"[<>|](?:[biufcSUV]\d{1,9}|[mM]8(?:\[\d*[a-zA-Z]+\])?)(?:/\d+)?")
_LONG_DOUBLE = np.dtype(np.longdouble), np.dtype(np.clongdouble)


def encode_dtype(dtype: np.dtype[Any]) -> str | list[Any]:
    """Return a dtype as text, or as nested lists where it is structured.

    Raises:
        Refused: It holds Python objects, or is of a kind that is not known here.
    """
    if dtype.metadata:
        raise Refused("its dtype carries metadata, which would be lost")
    if dtype.kind == "O":
        return "O"
    if dtype.kind == "T":
        return _encode_string(dtype)
    if dtype.hasobject:
        raise Refused(f"its dtype {dtype} holds Python objects")
    if dtype.subdtype:
        base, shape = dtype.subdtype
        return ["subarray", encode_dtype(base), list(shape)]
    if dtype.names is not None and dtype.fields is not None:
        fields = [_encode_field(name, *dtype.fields[name]) for name in dtype.names]
        kind = "record" if dtype.type is np.record else "struct"
        return [kind, dtype.itemsize, dtype.isalignedstruct, fields]
    if dtype.type.__module__.partition(".")[0] == "ml_dtypes":
        return dtype.name
    if dtype.newbyteorder("=") in _LONG_DOUBLE and dtype.itemsize not in (
        8,
        16 * (dtype.kind == "c"),
    ):
        return f"{dtype.str}/{np.finfo(np.longdouble).nmant}"  # differs between processors
    if not _PLAIN.fullmatch(dtype.str):
        raise Refused(f"its dtype {dtype!r} is not known")
    return dtype.str


def _encode_field(name: str, dtype: Any, offset: int, title: Any = None) -> list[Any]:
    return [name, encode_dtype(dtype), offset, title]


def _encode_string(dtype: Any) -> list[Any]:
    missing = getattr(dtype, "na_object", "")
    if not (missing is None or isinstance(missing, str | float)):
        raise Refused(f"its dtype {dtype!r} has a missing value of an unknown kind")
    return ["string", bool(dtype.coerce), *([missing] if hasattr(dtype, "na_object") else [])]


def decode_dtype(code: Any) -> np.dtype[Any]:
    """Return the dtype that `encode_dtype` wrote as ``code``.

    Raises:
        MissingDependencyError: It is one of ml_dtypes', which is not installed.
        ValueError, TypeError: It is no such code.
    """
    if type(code) is str:
        known = _DTYPES.get(code)
        return known if known is not None else _DTYPES.setdefault(code, _decode_plain(code))
    kind, *parts = code
    return _STRUCTURED[kind](*parts)


_DTYPES: dict[str, np.dtype[Any]] = {"O": np.dtype(object)}


def _decode_plain(code: str) -> np.dtype[Any]:
    if not _PLAIN.fullmatch(code):
        return _decode_ml(code)
    text, _, mantissa = code.partition("/")
    if mantissa and int(mantissa) != np.finfo(np.longdouble).nmant:
        raise ValueError(f"long double of {mantissa} bits does not exist on this processor")
    return np.dtype(text)


def _decode_ml(name: str) -> np.dtype[Any]:
    try:
        ml_dtypes = importlib.import_module("ml_dtypes")
    except ImportError as error:
        raise MissingDependencyError("ml_dtypes", f"An array of dtype {name}") from error
    kind = getattr(ml_dtypes, name, None) if re.fullmatch(r"[a-z]+\d[a-z0-9_]*", name) else None
    if not (isinstance(kind, type) and issubclass(kind, np.generic)):
        raise ValueError(f"{name!r} is no dtype")
    return np.dtype(kind)


def _decode_struct(itemsize: int, aligned: bool, fields: list[Any]) -> np.dtype[Any]:
    names, codes, offsets, titles = zip(*fields, strict=True) if fields else ((), (), (), ())
    spec: Any = {
        "names": list(names),
        "formats": [decode_dtype(code) for code in codes],
        "offsets": list(offsets),
        "itemsize": itemsize,
    }
    if any(title is not None for title in titles):
        spec["titles"] = list(titles)
    struct: np.dtype[Any] = np.dtype(spec, align=aligned)
    return struct


def _decode_subarray(base: Any, shape: list[int]) -> np.dtype[Any]:
    return np.dtype((decode_dtype(base), tuple(shape)))


def _decode_record(*parts: Any) -> np.dtype[Any]:
    return np.dtype((np.record, _decode_struct(*parts)))


def _decode_string(coerce: bool, *missing: Any) -> np.dtype[Any]:
    given = {"na_object": missing[0]} if missing else {}
    return np.dtypes.StringDType(coerce=coerce, **given)


_STRUCTURED: dict[str, Callable[..., np.dtype[Any]]] = {
    "struct": _decode_struct,
    "record": _decode_record,
    "subarray": _decode_subarray,
    "string": _decode_string,
}

# -------------------------------------------------------------------------------------- arrays


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


def _write_array(array: Array, packing: Packing) -> list[Any]:
    code = packing.dtype_codes.get(array.dtype)
    if code is None:
        code = packing.dtype_codes.setdefault(array.dtype, encode_dtype(array.dtype))
    straight, order = in_memory_order(array)
    if array.dtype.kind in "OT":
        parts = [code, list(array.shape), packing.guard(straight.reshape(-1).tolist())]
    else:
        parts = [code, list(array.shape), packing.data(raw_bytes(straight))]
    if not array.flags.writeable:
        return [*parts, order, True]
    return parts if order is None else [*parts, order]


def _read_array(
    unpacking: Unpacking,
    code: Any,
    shape: Any,
    data: Any,
    order: Any = None,
    read_only: bool = False,
) -> Array:
    array = unpacking.array(decode_dtype(code), shape, data, order)
    if read_only:
        array.flags.writeable = False
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
    if type(order) is not list or sorted(order) != list(range(len(shape))):
        raise ValueError(f"{order!r} is no order of {len(shape)} axes")


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape read from a document as a tuple.

    Raises:
        ValueError: It is not a list of sizes, or they are beyond any memory.
    """
    if type(shape) is not list or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"{shape!r} is no shape")
    if len(shape) > 32 or math.prod(max(size, 1) for size in shape) >= 2**62:
        raise ValueError(f"the shape {shape!r} is too large")
    return tuple(shape)


def fill_bytes(straight: Array, data: Any) -> None:
    """Put bytes into the memory of a C-contiguous array of that size."""
    raw_bytes(straight)[:] = data


def fill_objects(straight: Array, items: Any) -> None:
    """Put Python objects into a C-contiguous array of that size, one by one."""
    flat = straight.reshape(-1)
    for index, item in enumerate(items):  # not flat[:] = items, which unpacks sequences
        flat[index] = item


def _read_recarray(unpacking: Unpacking, *parts: Any) -> Any:
    return _read_array(unpacking, *parts).view(np.recarray)


def _write_masked(array: Any, _: Packing) -> list[Any]:
    mask = None if array.mask is np.ma.nomask else np.ma.getmaskarray(array)
    fill = array._fill_value  # the public attribute invents one
    return [np.ma.getdata(array), mask, None if fill is None else fill[()], array.hardmask]


def _read_masked(_: Unpacking, data: Any, mask: Any, fill: Any, hard: Any) -> Any:
    if not isinstance(data, np.ndarray):
        raise TypeError("a masked array without its data")
    mask = np.ma.nomask if mask is None else mask
    array = np.ma.MaskedArray(data, mask, fill_value=fill, hard_mask=hard, copy=False)
    return array


register(Row(40, "ndarray", _write_array, _read_array, identity=id), np.ndarray)
register(Row(45, "masked array", _write_masked, _read_masked, identity=id), np.ma.MaskedArray)
register(Row(47, "recarray", _write_array, _read_recarray, identity=id), np.recarray)

# --------------------------------------------------------------------------- scalars and dtypes


def _write_scalar(value: Any, _: Packing) -> list[Any]:
    return [encode_dtype(value.dtype), np.asarray(value).tobytes()]


def _read_scalar(_: Unpacking, code: Any, raw: Any) -> Any:
    dtype = decode_dtype(code)
    if len(raw) != dtype.itemsize or dtype.hasobject:
        raise ValueError(f"{len(raw)} bytes for a scalar of dtype {dtype}")
    array = np.zeros(1, dtype)
    if raw:
        array.view(np.uint8)[:] = np.frombuffer(raw, np.uint8)
    return array[0]


register(
    Row(41, "NumPy scalar", _write_scalar, _read_scalar),
    family=lambda kind: issubclass(kind, np.generic),
)
register(Row(42, "numpy.str_", lambda value, _: [str(value)], unpacked(np.str_)), np.str_)
register(Row(43, "numpy.bytes_", lambda value, _: [bytes(value)], unpacked(np.bytes_)), np.bytes_)
register(
    Row(46, "dtype", lambda value, _: [encode_dtype(value)], unpacked(decode_dtype)),
    family=lambda kind: issubclass(kind, np.dtype),
)
