"""NumPy in pickles: dtypes, arrays and scalars, by public constructors only.

NumPy's own ``__setstate__`` methods let a pickle put any bytes where a pointer is expected, and are
never called. Its constructors take almost anything: of an object they take a ``dtype`` or an
``__array_interface__`` on trust, with which a pickle could do the same. So they are given nothing
but what NumPy itself pickles.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.formats.dtypes import struct_dtype
from tune_ckpt.formats.pickle_build import Late, Make, UnknownVariantError
from tune_ckpt.formats.pickle_nodes import Node
from tune_ckpt.formats.pickle_opaque import Opaque

Array = npt.NDArray[Any]

# -------------------------------------------------------------------------------- dtypes and arrays


def _dtype(node: Node) -> np.dtype[Any]:
    spec: Any = node.args[0]
    if isinstance(spec, Opaque):
        raise UnknownVariantError
    if not isinstance(spec, str | type):
        raise TypeError(f"a dtype made of a {type(spec).__name__}")
    dtype: np.dtype[Any] = np.dtype(spec)
    if node.state is None:
        return dtype
    _, order, subdtype, names, fields, nbytes, _, flags, *metadata = node.state
    if subdtype is not None:
        base, shape = subdtype
        dtype = np.dtype((_known(base), tuple(map(operator.index, shape))))
    elif names:
        dtype = _structured(spec, names, fields, nbytes, aligned=bool(flags & 0x80))
    elif dtype.kind in "mM":
        dtype = np.dtype(dtype.str[1:] + _unit(*metadata[0][1]))
    elif metadata:
        dtype = np.dtype(spec, metadata=metadata[0])
    return dtype.newbyteorder(order) if order in "<>" and order != _NATIVE else dtype


def _known(dtype: Any) -> np.dtype[Any]:
    """Return a dtype that was made here.

    Raises:
        UnknownVariantError: It could not be made.
        TypeError: It is something else.
    """
    if isinstance(dtype, Opaque):
        raise UnknownVariantError
    if not isinstance(dtype, np.dtype):
        raise TypeError(f"a {type(dtype).__name__} instead of a dtype")
    return dtype


_NATIVE = {"little": "<", "big": ">"}[sys.byteorder]


def _structured(spec: Any, names: Any, fields: Any, nbytes: int, *, aligned: bool) -> np.dtype[Any]:
    parts = [(name, *(*fields[name], None)[:3]) for name in names]
    dtype = struct_dtype(parts, nbytes, aligned=aligned)
    return np.dtype((np.record, dtype)) if spec is np.record else dtype


def _unit(unit: Any, count: int, *_: Any) -> str:
    name = unit.decode() if isinstance(unit, bytes) else unit
    return "" if name == "generic" else f"[{count}{name}]"


def _array_from(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    """Return the writable array of these bytes, in place where they are writable.

    Raises:
        UnknownVariantError: The dtype could not be made.
        ValueError, TypeError: The bytes are not exactly those of the dtype and shape.
    """
    if _known(dtype).hasobject:
        raise ValueError(f"the bytes of an array of dtype {dtype} would be pointers")
    if not isinstance(raw, bytes | bytearray):
        raise TypeError(f"a {type(raw).__name__} instead of the bytes of an array")
    if len(raw) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{len(raw)} bytes for dtype {dtype} and shape {shape}")
    array: Array = np.ndarray(shape, dtype, raw, order=order)
    return array if array.flags.writeable else array.copy(order="K")


def _array(node: Node) -> Array:
    cls = node.args[0]
    _, shape, dtype, fortran, raw = node.state
    order = "F" if fortran else "C"
    make = _array_of_objects if isinstance(raw, list) else _array_from
    array = make(bytes(raw, "latin1") if isinstance(raw, str) else raw, dtype, shape, order)
    return array.view(np.recarray) if cls is np.recarray else array


def _array_of_objects(items: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not _known(dtype).hasobject:
        raise TypeError(f"objects in an array of dtype {dtype}")
    if len(items) != math.prod(shape):
        raise ValueError(f"{len(items)} objects for shape {shape}")
    flat: Array = np.empty(len(items), dtype)
    for number, item in enumerate(items):
        _check_element(item, dtype)
        flat[number] = item
    return flat.reshape(shape).copy(order=order)


def _check_element(element: Any, dtype: np.dtype[Any]) -> None:
    # Only into a field that is an array itself does NumPy convert whatever it is given.
    for name, part in zip(dtype.names or (), element if dtype.names else (), strict=True):
        if dtype[name].subdtype is not None and not isinstance(part, np.ndarray):
            raise TypeError(f"a {type(part).__name__} in a field that is an array")
        _check_element(part, dtype[name])


def _buffer(node: Node) -> Array:
    raw, dtype, shape, order, *axes = node.args
    if order == "K" and axes and axes[0] is not None:
        return _array_from(raw, dtype, shape).transpose(axes[0])
    return _array_from(raw, dtype, shape, order)


def _masked(node: Node) -> Array:
    _, shape, dtype, fortran, raw, mask, fill = node.state
    if type(fill) not in (np.ndarray, type(None)):
        raise TypeError(f"a fill value that is a {type(fill).__name__}")
    order = "F" if fortran else "C"
    data = _array_from(raw, dtype, shape, order)
    return np.ma.MaskedArray(
        data,
        mask=_array_from(mask, np.ma.make_mask_descr(data.dtype), shape, order),
        fill_value=fill,
    )


def _scalar(node: Node) -> Any:
    dtype, raw = node.args
    return (raw if isinstance(raw, np.ndarray) else _array_from(raw, dtype, ()))[()]


def _strings(node: Node) -> Any:
    coerce, *missing = node.args
    extra = {"na_object": missing[0]} if missing else {}
    return np.dtypes.StringDType(coerce=bool(coerce), **extra)


# ------------------------------------------------------------------------------------- the tables


_SCALARS = {
    kind for kind in vars(np).values() if isinstance(kind, type) and issubclass(kind, np.generic)
}
_ML_DTYPES = (
    *("bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn"),
    *("float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"),
    *("float6_e2m3fn", "float6_e3m2fn", "complex32", "bcomplex32"),
    *("int1", "int2", "int4", "uint1", "uint2", "uint4"),
)

VALUES: dict[str, object] = {
    **{f"numpy:{kind.__name__}": kind for kind in _SCALARS},
    "numpy:bool_": np.bool_,
    "numpy:ndarray": np.ndarray,
    "numpy:dtype": np.dtype,
    "numpy:record": np.record,
    "numpy:recarray": np.recarray,
    "numpy.rec:recarray": np.recarray,
    "numpy.ma:MaskedArray": np.ma.MaskedArray,
    "numpy.ma.core:MaskedArray": np.ma.MaskedArray,
    **{f"ml_dtypes:{name}": Late("ml_dtypes", name) for name in _ML_DTYPES},
}

CALLS: dict[str, Make] = {
    "numpy:dtype": _dtype,
    "numpy._core.multiarray:_reconstruct": _array,
    "numpy._core.multiarray:scalar": _scalar,
    "numpy._core.numeric:_frombuffer": _buffer,
    "numpy._core._internal:_convert_to_stringdtype_kwargs": _strings,
    "numpy.ma.core:_mareconstruct": _masked,
}
