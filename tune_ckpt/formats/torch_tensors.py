"""torch tensors as rows of the typed dialect, imported when the first one is met.

A tensor's parts are ``[dtype, shape, data, order?]``, like an array's. One that requires gradients,
or is a parameter, has the plain tensor and its kind as parts: so a parameter and the tensor of
``state_dict()`` that has the same memory share it after loading, too. Tensors are stored from host
memory and come back to it. Where torch is not installed, or on request, they come back as NumPy
arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.formats.arrays import in_memory_order
from tune_ckpt.formats.dtypes import decode_dtype
from tune_ckpt.formats.extensions import Refused, Row, expect, package_of, register
from tune_ckpt.formats.torch_dtypes import CARRIERS, PLAIN

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing
    from tune_ckpt.formats.unpacking import Unpacking

REQUIRES_GRAD, PARAMETER = 1, 2


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:  # it was asked for all the same
        raise MissingDependencyError("torch", "A tensor as such") from error
    return torch


def _name(dtype: Any) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in PLAIN and name not in CARRIERS:
        raise Refused(f"tensors of dtype {dtype} are not known")
    return name


def _dtype(name: str) -> Any:
    dtype = getattr(_torch(), name, None)
    if dtype is None:  # it has all others since before the oldest version that we support
        raise MissingDependencyError("torch>=2.7", f"A tensor of dtype {name}")
    return dtype


def _memory(tensor: Any) -> Hashable:
    # state_dict() hands out a new tensor object for each name of a tied weight: compare memory.
    if tensor.layout is not _torch().strided or tensor.is_meta or tensor.numel() == 0:
        return id(tensor)
    geometry = tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
    return (*geometry, tensor.device, tensor.is_conj(), tensor.is_neg())


def _identity(tensor: Any) -> Hashable:
    return id(tensor) if _kind(tensor) else _memory(tensor)


def _kind(tensor: Any) -> int:
    is_parameter = type(tensor) is not _torch().Tensor
    return REQUIRES_GRAD * bool(tensor.requires_grad) + PARAMETER * is_parameter


def _write_tensor(tensor: Any, packing: Packing) -> list[Any]:
    torch = _torch()
    kind = _kind(tensor)
    if kind:
        return [tensor.detach(), kind]
    name = _name(tensor.dtype)
    if tensor.layout is not torch.strided or tensor.is_meta:
        where = "on the meta device" if tensor.is_meta else f"of layout {tensor.layout}"
        raise Refused(f"a tensor {where} has no plain memory: write a dense copy on a real device")
    host = tensor.detach().cpu().resolve_conj().resolve_neg()
    array = host.view(getattr(torch, CARRIERS[name])) if name in CARRIERS else host
    straight, order = in_memory_order(array.numpy())
    parts = [name, list(tensor.shape), packing.array_data(straight)]
    return parts if order is None else [*parts, order]


def _read_tensor(unpacking: Unpacking, *parts: Any) -> Any:
    return _read_kind(unpacking, *parts) if len(parts) == 2 else _read_plain(unpacking, *parts)


def _read_plain(unpacking: Unpacking, name: Any, shape: Any, data: Any, order: Any = None) -> Any:
    if not unpacking.wants("torch"):
        return unpacking.array(_array_dtype(name), shape, data, order)
    torch = _torch()
    carrier = CARRIERS.get(name, name)
    array = unpacking.array(_array_dtype(carrier), shape, data, order)
    tensor = torch.from_numpy(array)
    if not array.size:  # NumPy gives it strides that torch would not
        tensor = torch.empty(array.shape, dtype=tensor.dtype)
    return tensor.view(_dtype(name)) if name in CARRIERS else tensor


def _array_dtype(name: Any) -> np.dtype[Any]:
    return decode_dtype(name if name in CARRIERS else PLAIN[name])


def _read_kind(unpacking: Unpacking, plain: Any, kind: Any) -> Any:
    if not unpacking.wants("torch"):
        return expect(np.ndarray, plain)
    torch = _torch()
    needs_grad = bool(expect(int, kind) & REQUIRES_GRAD)
    expect(torch.Tensor, plain)
    if kind & PARAMETER:
        return torch.nn.Parameter(plain, requires_grad=needs_grad)
    return plain.detach().requires_grad_(needs_grad)


# ------------------------------------------------------------------- dtypes, devices and the like


def _read_dtype(unpacking: Unpacking, name: Any) -> Any:
    if not unpacking.wants("torch"):
        return _array_dtype(name)
    if name not in PLAIN and name not in CARRIERS:
        raise ValueError(f"torch has no dtype {name!r}")
    return _dtype(name)


def _read_device(unpacking: Unpacking, kind: Any, index: Any) -> Any:
    text = expect(str, kind) if index is None else f"{expect(str, kind)}:{expect(int, index)}"
    return _torch().device(text) if unpacking.wants("torch") else text


def _read_size(unpacking: Unpacking, *parts: Any) -> Any:
    sizes = tuple(expect(int, part) for part in parts)
    if any(size.bit_length() > 63 for size in sizes):
        raise ValueError("a size beyond 64 bits")
    return _torch().Size(sizes) if unpacking.wants("torch") else sizes


def _write_generator(generator: Any, _: Packing) -> list[Any]:
    if generator.device.type != "cpu":
        raise Refused(f"a generator on {generator.device}: write its get_state()")
    return [generator.get_state().numpy().tobytes()]


def _read_generator(unpacking: Unpacking, state: Any) -> Any:
    array = np.frombuffer(bytearray(expect(bytes, state)), np.uint8)
    if not unpacking.wants("torch"):
        return array
    generator = _torch().Generator()
    generator.set_state(_torch().from_numpy(array))
    return generator


def _named(*names: str) -> Callable[[type], bool]:
    # By name: a document with tensors is readable where torch is not installed.
    return lambda kind: package_of(kind) == "torch" and kind.__name__ in names


register(
    Row(60, "torch tensor", _write_tensor, _read_tensor, identity=_identity, is_array=True),
    family=_named("Tensor", "Parameter"),
)
register(
    Row(61, "torch dtype", lambda value, _: [_name(value)], _read_dtype), family=_named("dtype")
)
register(
    Row(62, "torch device", lambda value, _: [value.type, value.index], _read_device),
    family=_named("device"),
)
register(Row(63, "torch Size", lambda value, _: tuple(value), _read_size), family=_named("Size"))
register(
    Row(64, "torch Generator", _write_generator, _read_generator, identity=id),
    family=_named("Generator"),
)
