"""NumPy in pickles: dtypes, arrays, scalars and random generators, by public constructors only.

NumPy's own ``__setstate__`` methods let a pickle put any bytes where a pointer is expected, and are
never called.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.formats.pickle_build import Late, Make, UnknownVariantError
from tune_ckpt.formats.pickle_nodes import Node
from tune_ckpt.formats.pickle_opaque import Opaque

Array = npt.NDArray[Any]

# -------------------------------------------------------------------------------- dtypes and arrays


def _dtype(node: Node) -> np.dtype[Any]:
    spec: Any = node.args[0]
    if isinstance(spec, Opaque):
        raise UnknownVariantError
    dtype: np.dtype[Any] = np.dtype(spec)
    if node.state is None:
        return dtype
    _, order, subdtype, names, fields, nbytes, _, flags, *metadata = node.state
    if subdtype is not None:
        dtype = np.dtype(subdtype)
    elif names:
        dtype = _structured(spec, names, fields, nbytes, aligned=bool(flags & 0x80))
    elif dtype.kind in "mM":
        dtype = np.dtype(dtype.str[1:] + _unit(*metadata[0][1]))
    elif metadata:
        dtype = np.dtype(spec, metadata=metadata[0])
    return dtype.newbyteorder(order) if order in "<>" and order != _NATIVE else dtype


_NATIVE = {"little": "<", "big": ">"}[sys.byteorder]


def _structured(spec: Any, names: Any, fields: Any, nbytes: int, *, aligned: bool) -> np.dtype[Any]:
    description: Any = {
        "names": list(names),
        "formats": [fields[name][0] for name in names],
        "offsets": [fields[name][1] for name in names],
        "titles": [(*fields[name], None)[2] for name in names],
        "itemsize": nbytes,
    }
    dtype = np.dtype(description, align=aligned)
    return np.dtype((np.record, dtype)) if spec is np.record else dtype


def _unit(unit: Any, count: int, *_: Any) -> str:
    name = unit.decode() if isinstance(unit, bytes) else unit
    return "" if name == "generic" else f"[{count}{name}]"


def array_from(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    """Return the writable array of these bytes, in place where they are writable.

    Raises:
        ValueError: The bytes are not exactly those of the dtype and shape.
    """
    if isinstance(dtype, Opaque):
        raise UnknownVariantError
    if dtype.hasobject:
        raise ValueError(f"the bytes of an array of dtype {dtype} would be pointers")
    if len(raw) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{len(raw)} bytes for dtype {dtype} and shape {shape}")
    array: Array = np.ndarray(shape, dtype, raw, order=order)
    return array if array.flags.writeable else array.copy(order="K")


def _array(node: Node) -> Array:
    cls = node.args[0]
    _, shape, dtype, fortran, raw = node.state
    order = "F" if fortran else "C"
    make = _array_of_objects if isinstance(raw, list) else array_from
    array = make(bytes(raw, "latin1") if isinstance(raw, str) else raw, dtype, shape, order)
    return array.view(np.recarray) if cls is np.recarray else array


def _array_of_objects(items: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if isinstance(dtype, Opaque):
        raise UnknownVariantError
    if len(items) != math.prod(shape):
        raise ValueError(f"{len(items)} objects for shape {shape}")
    flat: Array = np.empty(len(items), dtype)
    for number, item in enumerate(items):
        flat[number] = item
    return flat.reshape(shape).copy(order=order)


def _buffer(node: Node) -> Array:
    raw, dtype, shape, order, *axes = node.args
    if order == "K" and axes and axes[0] is not None:
        return array_from(raw, dtype, shape).transpose(axes[0])
    return array_from(raw, dtype, shape, order)


def _masked(node: Node) -> Array:
    _, shape, dtype, fortran, raw, mask, fill = node.state
    order = "F" if fortran else "C"
    data = array_from(raw, dtype, shape, order)
    masked: Any = np.ma.MaskedArray(
        data,
        mask=array_from(mask, np.ma.make_mask_descr(data.dtype), shape, order),
        fill_value=fill,
    )
    return masked  # type: ignore[no-any-return]


def _scalar(node: Node) -> Any:
    dtype, raw = node.args
    return (raw if isinstance(raw, np.ndarray) else array_from(raw, dtype, ()))[()]


def _strings(node: Node) -> Any:
    coerce, *missing = node.args
    extra = {"na_object": missing[0]} if missing else {}
    return np.dtypes.StringDType(coerce=bool(coerce), **extra)


# ----------------------------------------------------------------------------- random generators

_BITS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM),
        *(np.random.Philox, np.random.SFC64),
    )
}


def _bits(node: Node) -> Any:
    (kind,) = node.args
    state, seed = node.state if isinstance(node.state, tuple) else (node.state, None)
    bits = _BITS[kind if isinstance(kind, str) else kind.__name__](seed)
    if state is not None:
        bits.state = state
    return bits


def _bits_of(node: Node) -> Any:
    kind = node.args[0]
    return _BITS[kind]() if isinstance(kind, str) else kind


def _generator(node: Node) -> np.random.Generator:
    generator = np.random.Generator(_bits_of(node))
    if node.state is not None:
        generator.bit_generator.state = node.state
    return generator


def _random_state(node: Node) -> np.random.RandomState:
    generator = np.random.RandomState(_bits_of(node))
    generator.set_state(node.state)
    return generator


def _seed(node: Node) -> np.random.SeedSequence:
    entropy, spawned, _, pool_size, spawn_key = node.state or node.args[2]
    if not 4 <= pool_size <= 1024:  # it is allocated
        raise ValueError(f"a seed sequence's pool of {pool_size} words")
    return np.random.SeedSequence(
        entropy, spawn_key=spawn_key, pool_size=pool_size, n_children_spawned=spawned
    )


# ------------------------------------------------------------------------------------- the tables


_SCALARS = {
    kind for kind in vars(np).values() if isinstance(kind, type) and issubclass(kind, np.generic)
}
_ML_DTYPES = (
    *("bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn"),
    *("float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"),
    *("float6_e2m3fn", "float6_e3m2fn", "int2", "int4", "uint2", "uint4"),
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
    "numpy.random._mt19937:MT19937": np.random.MT19937,
    "numpy.random._pcg64:PCG64": np.random.PCG64,
    "numpy.random._pcg64:PCG64DXSM": np.random.PCG64DXSM,
    "numpy.random._philox:Philox": np.random.Philox,
    "numpy.random._sfc64:SFC64": np.random.SFC64,
    "numpy.random.bit_generator:SeedSequence": np.random.SeedSequence,
    **{f"ml_dtypes:{name}": Late("ml_dtypes", name) for name in _ML_DTYPES},
}

CALLS: dict[str, Make] = {
    "numpy:dtype": _dtype,
    "numpy._core.multiarray:_reconstruct": _array,
    "numpy._core.multiarray:scalar": _scalar,
    "numpy._core.numeric:_frombuffer": _buffer,
    "numpy._core._internal:_convert_to_stringdtype_kwargs": _strings,
    "numpy.ma.core:_mareconstruct": _masked,
    "numpy.random._pickle:__bit_generator_ctor": _bits,
    "numpy.random._pickle:__generator_ctor": _generator,
    "numpy.random._pickle:__randomstate_ctor": _random_state,
    "numpy.random.bit_generator:__pyx_unpickle_SeedSequence": _seed,
}
