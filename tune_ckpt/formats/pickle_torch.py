"""torch tensors in pickles, made as arrays without torch; see `pickle_tensors` for tensors.

A pickled tensor names a function that rebuilds it, and holds its storage as bytes of
``torch.save``, which are pickles in turn. Those have two layouts: a zip archive, and the older
sequence of pickles with the storages' bytes behind them. `read_file` reads both, also as files of
their own (``.pt``).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import CorruptDataError, TuneCkptError
from tune_ckpt.formats.pickle_build import Builder, Make, Tables, UnknownVariantError
from tune_ckpt.formats.pickle_harmless import CALLS, VALUES
from tune_ckpt.formats.pickle_nodes import PERSISTENT, Node, parse
from tune_ckpt.formats.pickle_opaque import Opaque
from tune_ckpt.formats.torch_dtypes import CARRIERS, PLAIN

Names = dict[str, None]  # a set that keeps its order

_ZIP = b"PK\x03\x04"
_MAGIC_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

_STORAGES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}


@dataclass(frozen=True)
class Storage:
    """The memory behind tensors: its bytes, and the name of its torch dtype."""

    raw: bytes
    dtype: str


def is_torch_file(data: bytes | memoryview) -> bool:
    """Say whether ``torch.save`` wrote these bytes."""
    return bytes(data[:4]) == _ZIP or bytes(data[: len(_MAGIC_PICKLE)]) == _MAGIC_PICKLE


def read_file(data: bytes | memoryview, file: str, names: Names) -> object:
    """Return what ``torch.save`` wrote, with arrays for its tensors; nothing is imported.

    Args:
        data: The bytes.
        file: What to call them in messages.
        names: Filled with every global that the pickles in them name.

    Raises:
        CorruptDataError: The bytes are damaged.
        UntrustedPickleError: They use codes of ``copyreg``'s registry of extensions.
        PickleReadError: They are nested too deeply.
    """
    read = _read_archive if bytes(data[:4]) == _ZIP else _read_sequence
    try:
        tree, raws = read(bytes(data), file, names)
    except TuneCkptError:
        raise
    except Exception as error:  # damaged bytes fail in any way; nothing foreign ran
        reason = f"what torch saved cannot be read ({type(error).__name__}: {error})"
        raise CorruptDataError(file, reason) from error

    def storage(node: Node) -> Storage:
        """Return the bytes that a persistent id of torch's names."""
        _, kind, key, *_ = node.args[0]
        if not isinstance(kind, Opaque) or kind.name not in _STORAGES:
            raise UnknownVariantError
        return Storage(raws[key], _STORAGES[kind.name])

    calls = CALLS | calls_for_arrays(file, names) | {PERSISTENT: storage}
    return Builder(Tables(VALUES, calls), file, strict=False).build(tree)


def _read_archive(data: bytes, file: str, names: Names) -> tuple[object, Mapping[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    if "data.pkl" not in parts or parts.get("byteorder", b"little") != b"little":
        raise CorruptDataError(file, "the archive is not one of torch with little-endian data")
    parsed = parse(parts["data.pkl"], file)
    names.update(dict.fromkeys(parsed.names))
    return parsed.tree, {name.removeprefix("data/"): raw for name, raw in parts.items()}


def _read_sequence(data: bytes, file: str, names: Names) -> tuple[object, Mapping[str, bytes]]:
    # Magic number, protocol version, the writer's type sizes; then what was saved, and its keys.
    pickles = [parse(data, file)]
    while len(pickles) < 5:
        pickles.append(parse(data, file, pickles[-1].end))
    for parsed in pickles:
        names.update(dict.fromkeys(parsed.names))
    *_, saved, keys = pickles
    kinds = {pid[2]: pid[1].name for pid in saved.persistent_ids}
    stream = io.BytesIO(data[keys.end :])
    raws = {}
    for key in keys.tree if isinstance(keys.tree, list) else ():
        count = int.from_bytes(stream.read(8), "little")
        nbytes = count * _itemsize(_STORAGES.get(kinds.get(key, ""), "uint8"))
        raws[key] = stream.read(nbytes)
        if len(raws[key]) != nbytes:
            raise CorruptDataError(file, "the data of a tensor is cut short")
    return saved.tree, raws


def _itemsize(dtype: str) -> int:
    return np.dtype(CARRIERS.get(dtype, dtype)).itemsize


def calls_for_arrays(file: str, names: Names) -> dict[str, Make]:
    """Return the rows that make NumPy arrays of tensors, without torch.

    bfloat16 and float8 come as ``ml_dtypes`` has them. Where that is not installed, bfloat16 is
    widened to float32, which has all of its values, and a float8 tensor stays an `Opaque`.
    """
    return {
        "torch.storage:_load_from_bytes": lambda node: _storage(node, file, names),
        "torch._utils:_rebuild_tensor": _array,
        "torch._utils:_rebuild_tensor_v2": _array,
        "torch._utils:_rebuild_tensor_v3": _array,
        "torch._utils:_rebuild_parameter": lambda node: node.args[0],
        "torch:Size": lambda node: tuple(*node.args),
    }


def _storage(node: Node, file: str, names: Names) -> Storage:
    storage = read_file(node.args[0], file, names)
    if not isinstance(storage, Storage):
        raise UnknownVariantError
    return storage


def _array(node: Node) -> npt.NDArray[Any]:
    storage, offset, size, stride, *rest = node.args
    if not isinstance(storage, Storage):
        raise UnknownVariantError
    name = _name(rest[2]) if node.name.endswith("_v3") else storage.dtype
    dtype, raw = _dtype(name), storage.raw
    if dtype is None and name == "bfloat16":
        dtype, raw = np.dtype("f4"), _widened(raw)
    if dtype is None:
        raise UnknownVariantError
    strides = [step * dtype.itemsize for step in stride]
    # NumPy refuses what would reach beyond the buffer.
    return np.ndarray(size, dtype, raw, offset * dtype.itemsize, strides).copy()


def _name(dtype: Any) -> str:
    return dtype.name if isinstance(dtype, Opaque) else np.dtype(dtype).name


def _dtype(name: str) -> np.dtype[Any] | None:
    if name in PLAIN:
        return np.dtype(PLAIN[name])
    try:
        import ml_dtypes
    except ImportError:
        return None
    known = getattr(ml_dtypes, name, None) if name in CARRIERS else None  # older ones lack some
    return None if known is None else np.dtype(known)


def _widened(raw: bytes) -> bytes:
    return (np.frombuffer(raw, "<u2").astype("<u4") << 16).tobytes()
