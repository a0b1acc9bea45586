"""torch tensors in pickles as themselves, made of storages that were read without torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.formats.pickle_build import Late, Make, UnknownVariantError
from tune_ckpt.formats.pickle_harmless import VALUES
from tune_ckpt.formats.pickle_nodes import Node
from tune_ckpt.formats.pickle_torch import Storage, calls_for_arrays
from tune_ckpt.formats.torch_dtypes import CARRIERS, PLAIN

if TYPE_CHECKING:
    from tune_ckpt.formats.unpacking import Tensors


def calls_for_tensors(file: str) -> dict[str, Make]:
    """Return the rows that make tensors, all of them in host memory."""
    return {
        **calls_for_arrays(file, {}),  # storages are read as above: without torch's own unpickler
        "torch._utils:_rebuild_tensor": _tensor,
        "torch._utils:_rebuild_tensor_v2": _tensor,
        "torch._utils:_rebuild_tensor_v3": _tensor,
        "torch._utils:_rebuild_parameter": _parameter,
        "torch:Size": lambda node: _torch().Size(*node.args),
        "torch:device": lambda node: _torch().device(*node.args),
    }


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "Reading a pickled tensor as a tensor") from error
    return torch


def _tensor(node: Node) -> Any:
    torch = _torch()
    storage, offset, size, stride, *rest = node.args
    if not isinstance(storage, Storage):
        raise UnknownVariantError
    dtype = rest[2] if node.name.endswith("_v3") else getattr(torch, storage.dtype)
    memory = torch.frombuffer(bytearray(storage.raw or b"\0" * 16), dtype=torch.uint8).view(dtype)
    # torch refuses what would reach beyond the memory.
    tensor = memory.as_strided(size, stride, offset)
    return tensor.requires_grad_() if rest and rest[0] else tensor


def _parameter(node: Node) -> Any:
    tensor, requires_grad, *_ = node.args
    return _torch().nn.Parameter(tensor, requires_grad=requires_grad)


VALUES_WITH_TORCH: dict[str, object] = VALUES | {
    f"torch:{name}": Late("torch", name)
    for name in (*PLAIN, *CARRIERS, "complex32", "Size", "device", "dtype")
}
_VALUES_WITHOUT_TORCH: dict[str, object] = (
    VALUES_WITH_TORCH
    | {f"torch:{name}": np.dtype(plain) for name, plain in PLAIN.items()}
    | {f"torch:{name}": Late("ml_dtypes", name) for name in CARRIERS}
)


def tables(file: str, tensors: Tensors | None) -> tuple[Mapping[str, object], Mapping[str, Make]]:
    """Return the values and calls of a reader that leaves nothing inert.

    Args:
        file: What to call the pickle in messages.
        tensors: How tensors come back; by default as such where torch is installed.
    """
    if tensors == "torch" or (tensors is None and importlib.util.find_spec("torch")):
        return VALUES_WITH_TORCH, calls_for_tensors(file)
    device: dict[str, Make] = {"torch:device": lambda node: ":".join(map(str, node.args))}
    return _VALUES_WITHOUT_TORCH, {**calls_for_arrays(file, {}), **device}
