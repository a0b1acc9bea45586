"""A checkpoint's arrays as one flat file that other programs open: safetensors or NumPy's npz."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import (
    InvalidArgumentError,
    MissingDependencyError,
    NotACheckpointError,
    NotInCheckpointError,
    listed,
)
from tune_ckpt.rllib.reading.weights import load_weights
from tune_ckpt.tree.inspection.contents import open_contents
from tune_ckpt.tree.inspection.found import Array
from tune_ckpt.tree.inspection.inspecting import Inspected, inspect
from tune_ckpt.tree.storage import traffic
from tune_ckpt.tree.storage.store import address_of, is_plain_file, open_parent, open_store

Arrays = dict[str, npt.NDArray[Any]]


def read_arrays(path: Any, component: str | None = None) -> Arrays:
    """Return a checkpoint's arrays by their names: component and place in its state, ``/`` between.

    Of RLlib's own checkpoints they are the weights of its policies or modules, by
    ``<policy>/<name>``. Nothing is imported, called or constructed, and torch is not needed.

    Args:
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        component: Only this subcomponent, ``/`` between levels; of RLlib's, only this policy or
            module.

    Raises:
        NotACheckpointError: There is no checkpoint.
        ComponentNotFoundError: It has no such component.
        NotInCheckpointError: It has no arrays.
        CorruptDataError: It is not what was written.
    """
    store = open_store(path)
    found = None if is_plain_file(path) else _inspected(store)
    if found is None or found.digest is None:
        arrays = _flat(load_weights(path, component))
    else:
        arrays = dict(_named_arrays(found.at(component), ""))
    if not arrays:
        raise NotInCheckpointError(store.location, "arrays", "its state is plain values only")
    return arrays


def _inspected(store: Any) -> Inspected | None:
    try:
        return inspect(store)
    except NotACheckpointError:
        return None  # RLlib's, perhaps


def _named_arrays(part: Inspected, path: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for file in part.states:
        with open_contents(part.store, file.name, file.digest) as contents:
            for _, place, found in contents.walk():
                if isinstance(found, Array):
                    yield f"{path}{place}".rstrip("/") or "state", found.read()
    for name, child in part.children():
        yield from _named_arrays(child, f"{path}{name}/")


def _flat(weights: Mapping[str, Any]) -> Arrays:
    flat: Arrays = {}
    for name, value in weights.items():
        inner = _flat(value) if isinstance(value, Mapping) else {"": value}
        flat |= {f"{name}/{rest}".rstrip("/"): array for rest, array in inner.items()}
    return flat


# ------------------------------------------------------------------------------------- writing


def write_arrays(arrays: Arrays, path: Any) -> str:
    """Write arrays into a file, which appears as a whole, and return its path.

    Args:
        arrays: The arrays, by name.
        path: The file's path or URI, whose suffix tells the format: ``.safetensors`` or ``.npz``.

    Raises:
        InvalidArgumentError: There is no such format, or it cannot hold an array of that dtype.
        MissingDependencyError: safetensors is not installed.
        StorageError: The file cannot be written.
    """
    check_name(path)
    parent, name = open_parent(path)
    data = _WRITERS[_suffix(name)](arrays)
    parent.make()
    parent.write_bytes(name, data)
    return address_of(path)


def check_name(path: Any) -> None:
    """Check that a file of that name can be written, before anything is read for it.

    Raises:
        InvalidArgumentError: There is no such format.
        MissingDependencyError: safetensors is not installed.
    """
    _, name = open_parent(path)
    if _suffix(name) not in _WRITERS:
        raise InvalidArgumentError("output", name, [f"a name that ends in {s}" for s in _WRITERS])
    if _suffix(name) == ".safetensors":
        _import_safetensors()


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2]}"


def _npz(arrays: Arrays) -> bytes:
    # Of ml_dtypes' dtypes (bfloat16, ...) a reader would find nothing but raw bytes.
    _check(arrays, ".npz", lambda d: not d.hasobject and (d.kind != "V" or d.names is not None))
    stream = traffic.Encoded()
    with zipfile.ZipFile(stream, "w") as archive:  # numpy.savez takes no array named "file"
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return stream.getvalue()


def _safetensors(arrays: Arrays) -> bytes:
    save = _import_safetensors().save
    _check(arrays, ".safetensors", lambda dtype: dtype.name in _SAFETENSORS)
    data = bytes(save({name: np.asarray(array, order="C") for name, array in arrays.items()}))
    traffic.tell(len(data))
    return data


def _import_safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingDependencyError("safetensors", "Writing safetensors") from error
    return safetensors.numpy


_SAFETENSORS = {
    *("bool", "bfloat16", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "complex64",
}


def _check(arrays: Arrays, suffix: str, holds: Callable[[np.dtype[Any]], bool]) -> None:
    bad = [f"{name} ({array.dtype})" for name, array in arrays.items() if not holds(array.dtype)]
    if bad:
        another = [f"a name that ends in {other}" for other in _WRITERS if other != suffix]
        raise InvalidArgumentError("output", suffix, another, f"it cannot hold {listed(bad, 5)}")


_WRITERS: dict[str, Callable[[Arrays], bytes]] = {".safetensors": _safetensors, ".npz": _npz}
