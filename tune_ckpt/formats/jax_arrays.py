"""jax arrays as rows of the typed dialect, imported when the first one is met.

An array's parts are ``[dtype, shape, data, weak?]``. Arrays are stored from host memory and come
back to the default device. Where jax is not installed, or NumPy arrays are asked for, they come
back as such.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_ckpt.formats.arrays import write_array
from tune_ckpt.formats.dtypes import decode_dtype
from tune_ckpt.formats.extensions import Refused, Row, package_of, register

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing
    from tune_ckpt.formats.unpacking import Unpacking


def _jax() -> Any:
    import jax

    return jax


def _with_64_bits() -> Any:
    # Else 64-bit numbers would lose half of their bits.
    try:
        return _jax().enable_x64(True)
    except AttributeError:  # before jax 0.8
        return importlib.import_module("jax.experimental").enable_x64(True)


def _write(value: Any, packing: Packing) -> list[Any]:
    if not value.is_fully_addressable:
        raise Refused("a jax array that is spread over several processes: gather it first")
    parts = write_array(np.ascontiguousarray(value).reshape(value.shape), packing)[:3]
    return [*parts, True] if value.weak_type else parts


def _read(unpacking: Unpacking, code: Any, shape: Any, data: Any, weak: Any = False) -> Any:
    array = unpacking.array(decode_dtype(code), shape, data, None)
    if not unpacking.wants("jax"):
        return array
    unpacking.settle()  # jax is about to copy it
    with _with_64_bits():
        value = _jax().numpy.array(array)
    if weak is True:
        value.aval = value.aval.update(weak_type=True)
    return value


register(
    Row(80, "jax array", _write, _read, identity=id, is_array=True),
    family=lambda kind: package_of(kind) in ("jax", "jaxlib") and kind.__name__ == "ArrayImpl",
)
