"""torch tensors as rows of the typed dialect, imported when the first one is met.

A tensor's parts are ``[dtype, shape, data, order?, kind?]``, like an array's; the kind is a sum of
`REQUIRES_GRAD` and `PARAMETER`. Tensors are stored from host memory and come back to it. Where
torch is not installed, or on request, they come back as NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_ckpt.formats.arrays import decode_dtype, in_memory_order, raw_bytes
from tune_ckpt.formats.extensions import Refused, Row, register

if TYPE_CHECKING:
    from tune_ckpt.formats.msgpack import Packing, Unpacking

REQUIRES_GRAD, PARAMETER = 1, 2

# A torch dtype's name: the dtype of the array that it becomes, and the one that carries its bits.
_PLAIN = {
    "bool": "|b1",
    "uint8": "|u1",
    "int8": "|i1",
    **{
        f"{kind}{bits}": f"<{kind[0]}{bits // 8}"
        for kind in ("int", "uint")
        for bits in (16, 32, 64)
    },
    **{f"float{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "complex64": "<c8",
    "complex128": "<c16",
}
_ML = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
_ARRAY_DTYPE = _PLAIN | {name: name for name in (*_ML, "float8_e8m0fnu")}
_CARRIER = _PLAIN | {
    name: "<i2" if name == "bfloat16" else "|u1" for name in _ARRAY_DTYPE.keys() - _PLAIN
}


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _identity(tensor: Any) -> Hashable:
    # state_dict() hands out a new tensor object for each name of a tied weight: compare memory.
    if tensor.layout is not _torch().strided or tensor.numel() == 0:
        return id(tensor)
    place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
    return (*place, tensor.requires_grad)


def _torch() -> Any:
    import torch

    return torch


def _write_tensor(tensor: Any, packing: Packing) -> list[Any]:
    torch = _torch()
    name = _name(tensor.dtype)
    if tensor.layout is not torch.strided or name not in _CARRIER:
        raise Refused(f"a tensor of layout {tensor.layout} and dtype {tensor.dtype} is not known")
    if tensor.is_meta:
        raise Refused("a tensor on the meta device has no values")
    host = tensor.detach().cpu().resolve_conj().resolve_neg()
    array = host.view(getattr(torch, _SIGNED[_CARRIER[name]])) if name not in _PLAIN else host
    straight, order = in_memory_order(array.numpy())
    kind = REQUIRES_GRAD * tensor.requires_grad + PARAMETER * isinstance(tensor, torch.nn.Parameter)
    parts = [name, list(tensor.shape), packing.data(raw_bytes(straight))]
    if kind:
        return [*parts, order, kind]
    return parts if order is None else [*parts, order]


_SIGNED = {"<i2": "int16", "|u1": "uint8"}


def _read_tensor(
    unpacking: Unpacking, name: str, shape: Any, data: Any, order: Any = None, kind: int = 0
) -> Any:
    if unpacking.tensors == "numpy":
        return unpacking.array(decode_dtype(_ARRAY_DTYPE[name]), shape, data, order)
    torch = _torch()
    array = unpacking.array(np.dtype(_CARRIER[name]), shape, data, order)
    tensor = torch.from_numpy(array)
    if name not in _PLAIN:
        tensor = tensor.view(getattr(torch, name))
    if kind & PARAMETER:
        return torch.nn.Parameter(tensor, requires_grad=bool(kind & REQUIRES_GRAD))
    return tensor.requires_grad_() if kind & REQUIRES_GRAD else tensor


def _read_dtype(unpacking: Unpacking, name: Any) -> Any:
    if unpacking.tensors == "numpy":
        return decode_dtype(_ARRAY_DTYPE[name])
    return getattr(_torch(), name) if name in _CARRIER else _unknown(name)


def _unknown(name: str) -> None:
    raise ValueError(f"{name!r} is no dtype of a tensor")


def _write_device(device: Any, _: Packing) -> list[Any]:
    return [device.type, device.index]


def _read_device(unpacking: Unpacking, kind: Any, index: Any) -> Any:
    if unpacking.tensors == "numpy":
        return kind if index is None else f"{kind}:{index}"
    return _torch().device(kind) if index is None else _torch().device(kind, index)


def _read_size(unpacking: Unpacking, *parts: Any) -> Any:
    return parts if unpacking.tensors == "numpy" else _torch().Size(parts)


def _write_dtype(dtype: Any, _: Packing) -> list[Any]:
    if _name(dtype) not in _CARRIER:
        raise Refused(f"{dtype} is not known")
    return [_name(dtype)]


def _named(*names: str) -> Callable[[type], bool]:
    # By name: a document with tensors is readable where torch is not installed.
    return lambda kind: kind.__module__.partition(".")[0] == "torch" and kind.__name__ in names


register(
    Row(60, "torch tensor", _write_tensor, _read_tensor, identity=_identity),
    family=_named("Tensor", "Parameter"),
)
register(Row(61, "torch dtype", _write_dtype, _read_dtype), family=_named("dtype"))
register(Row(62, "torch device", _write_device, _read_device), family=_named("device"))
register(Row(63, "torch Size", lambda value, _: tuple(value), _read_size), family=_named("Size"))
