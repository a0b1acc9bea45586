"""NumPy's kinds of arrays, its scalars and dtypes as rows of the typed dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tune_ckpt.formats.arrays import Array, read_array, with_zeros, write_array
from tune_ckpt.formats.dtypes import decode_dtype, encode_dtype
from tune_ckpt.formats.extensions import Refused, Row, expect, register, unpacked

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing
    from tune_ckpt.formats.unpacking import Unpacking

# ----------------------------------------------------------------- record and masked arrays


def _read_recarray(unpacking: Unpacking, *parts: Any) -> Any:
    return read_array(unpacking, *parts).view(np.recarray)


def _write_masked(array: Any, _: Packing) -> list[Any]:
    if array._optinfo or array._basedict.keys() - _MASKED_OWN:
        raise Refused("this masked array has attributes of its own")
    data = np.ma.getdata(array)
    if type(data) is not np.ndarray:
        raise Refused(f"a masked array over a {type(data).__name__}")
    mask = None if array.mask is np.ma.nomask else np.ma.getmaskarray(array)
    fill = array._fill_value  # the public attribute invents one
    return [data, mask, fill, array.hardmask]


_MASKED_OWN = {"_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_optinfo"}
_MASKED_OWN |= {"_mask", "_basedict"}


def _is_mask(mask: Any, data: Array) -> bool:
    if type(mask) is not np.ndarray or mask.shape != data.shape:
        return False
    return bool(mask.dtype == np.ma.make_mask_descr(data.dtype))


def _read_masked(unpacking: Unpacking, data: Any, mask: Any, fill: Any, hard: Any) -> Any:
    if type(data) is not np.ndarray:
        raise TypeError("a masked array without its data")
    if mask is not None and not _is_mask(mask, data):
        raise TypeError("a masked array whose mask is not one")
    unpacking.settle()  # NumPy copies some masks
    mask = np.ma.nomask if mask is None else mask
    array: Any = np.ma.MaskedArray(data, mask, hard_mask=expect(bool, hard), copy=False)
    if fill is not None:
        if type(fill) is not np.ndarray or fill.shape:  # of any dtype: NumPy invents such ones
            raise TypeError("a masked array whose fill value is not one")
        array._fill_value = fill
    return array


register(Row(45, "masked array", _write_masked, _read_masked, identity=id), np.ma.MaskedArray)
register(Row(47, "recarray", write_array, _read_recarray, identity=id, is_array=True), np.recarray)

# --------------------------------------------------------------------------- scalars and dtypes


def _write_scalar(value: Any, packing: Packing) -> list[Any]:
    code, unused = packing.dtype(value.dtype)
    if value.dtype.hasobject:
        raise Refused("a scalar that holds Python objects")
    if unused is not None:
        return [code, with_zeros(np.array([value], value.dtype), unused).tobytes()]
    return [code, value.tobytes()]


def _read_scalar(_: Unpacking, code: Any, raw: Any) -> Any:
    dtype = decode_dtype(code)
    if len(expect(bytes, raw)) != dtype.itemsize or dtype.hasobject or dtype.subdtype:
        raise ValueError(f"{len(raw)} bytes for a scalar of dtype {dtype}")
    return np.frombuffer(bytearray(raw), dtype)[0] if raw else np.zeros(1, dtype)[0]


register(
    Row(41, "NumPy scalar", _write_scalar, _read_scalar),
    family=lambda kind: issubclass(kind, np.generic) and np.dtype(kind).type is kind,
)


def _read_text(_: Unpacking, text: Any) -> np.str_:
    return np.str_(expect(str, text))


def _read_bytes(_: Unpacking, raw: Any) -> np.bytes_:
    return np.bytes_(expect(bytes, raw))


def _write_text(value: Any, _: Packing) -> list[Any]:
    return [str.__str__(value)]  # NumPy's own drops NULs at the end


register(Row(42, "numpy.str_", _write_text, _read_text), np.str_)
register(Row(43, "numpy.bytes_", lambda value, _: [bytes(value)], _read_bytes), np.bytes_)
register(
    Row(46, "dtype", lambda value, _: [encode_dtype(value)], unpacked(decode_dtype)),
    family=lambda kind: issubclass(kind, np.dtype),
)
