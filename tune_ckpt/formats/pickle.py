"""The pickle format: written by cloudpickle; read in full, restricted to plain data, or inertly.

=================  ============================  ==============================================
reader             what a pickle may make        for
=================  ============================  ==============================================
`loads`            anything: it may run code     checkpoints of one's own sweep, or trusted ones
`loads_restricted` plain data, arrays, tensors,  everybody else's (the default)
                   and classes that are listed
`loads_inert`      plain data and arrays, and    pickles of another Python, of libraries that are
                   `Opaque` records of the rest  not installed, or of a whole sweep
=================  ============================  ==============================================

The last two never import, call or touch what a pickle names; they do not guard against one that is
made to fill the memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tune_ckpt.errors import (
    CorruptDataError,
    Fault,
    PickleReadError,
    TuneCkptError,
    UnsupportedStateError,
    UntrustedPickleError,
)
from tune_ckpt.formats import pickle_tensors, pickle_torch
from tune_ckpt.formats.io import Source, stream_of
from tune_ckpt.formats.pickle_build import Builder, Tables
from tune_ckpt.formats.pickle_harmless import CALLS, VALUES
from tune_ckpt.formats.pickle_nodes import canonical, parse
from tune_ckpt.formats.pickle_opaque import Opaque, holds_opaque

if TYPE_CHECKING:
    from tune_ckpt.formats.unpacking import Tensors

__all__ = [
    "Opaque",
    "dump_parts",
    "dumps",
    "holds_opaque",
    "list_globals",
    "load",
    "loads",
    "loads_inert",
    "loads_restricted",
    "unpicklable",
]

_NOTHING: Mapping[str, type] = MappingProxyType({})


def dumps(value: object, *, pickler: Any = None) -> bytes:
    """Return the pickle of a value, with classes and functions of ``__main__`` by value.

    Tensors are taken from host memory: one from a GPU opens where there is none.

    Args:
        value: The value.
        pickler: A subclass of cloudpickle's ``Pickler`` to do it instead.

    Raises:
        UnsupportedStateError: Something in it cannot be pickled.
    """
    return b"".join(dump_parts(value, pickler=pickler))


def dump_parts(value: object, *, pickler: Any = None) -> list[bytes | memoryview]:
    """Return the same in parts, of which the large ones are the memory of the value's arrays.

    Args:
        value: The value; it must not change while the parts are in use.
        pickler: As for `dumps`.

    Raises:
        UnsupportedStateError: Something in it cannot be pickled.
    """
    from tune_ckpt.formats.pickle_writing import HostPickler, Parts  # reading needs no cloudpickle

    written = Parts()
    try:
        (pickler or HostPickler)(written, protocol=5).dump(value)
    except Exception as error:  # whatever the value's own code raises
        raise unpicklable(error) from error
    return written.parts


def unpicklable(error: Exception) -> UnsupportedStateError:
    """Return the error that says why a value cannot be pickled."""
    return UnsupportedStateError(
        (Fault("", f"it cannot be pickled ({type(error).__name__}: {error})"),)
    )


def loads(data: bytes | memoryview, *, file: str) -> object:
    """Return what a trusted pickle holds; this may import anything and run any code.

    Args:
        data: The pickle.
        file: What to call it in messages.

    Raises:
        CorruptDataError: The bytes are not a whole pickle.
        PickleReadError: The pickle is whole, but what it names cannot be made here.
    """
    return _trusted(lambda: pickle.loads(data), file)


def load(source: Source) -> object:
    """Return the same of a pickle that is read on the way, its arrays straight into their memory.

    Args:
        source: The pickle; its name is what it is called in messages.

    Raises:
        StorageError: It cannot be read.
        CorruptDataError: The bytes are not a whole pickle.
        PickleReadError: The pickle is whole, but what it names cannot be made here.
    """
    return _trusted(lambda: pickle.load(stream_of(source)), source.name)


def _trusted(read: Callable[[], object], file: str) -> object:
    try:
        return read()
    except TuneCkptError:  # the storage that it is read from
        raise
    except (EOFError, pickle.UnpicklingError, UnicodeDecodeError) as error:
        raise CorruptDataError(file, f"the pickle cannot be parsed ({error})") from error
    except Exception as error:  # whatever the pickle's own code raises
        raise PickleReadError(file, f"{type(error).__name__}: {error}") from error


def loads_restricted(
    data: bytes | memoryview,
    *,
    file: str,
    allowed: Mapping[str, type] = _NOTHING,
    tensors: Tensors | None = None,
) -> object:
    """Return what a pickle of plain data holds, without running anything that it names.

    Args:
        data: The pickle.
        file: What to call it in messages.
        allowed: Classes that it may hold and make instances of, by ``module:name``, besides plain
            containers and values, NumPy arrays and generators, and torch tensors (which come to
            the CPU).
        tensors: How torch tensors come back, ``"torch"`` or ``"numpy"``; by default as tensors
            where torch is installed.

    Raises:
        UntrustedPickleError: It names anything else; all of it is listed, and nothing was made.
        CorruptDataError: The bytes are damaged.
        PickleReadError: An allowed class refuses its state, or the nesting is too deep.
        MissingDependencyError: It holds tensors, which are wanted as such, and torch is not
            installed.
    """
    parsed = parse(data, file)
    values, calls = pickle_tensors.tables(file, tensors)
    classes = {canonical(*name.split(":", 1)): cls for name, cls in allowed.items()}
    tables = Tables(values, {**CALLS, **calls}, classes)
    offending = tuple(name for name in parsed.names if not tables.know(name))
    if offending:
        raise UntrustedPickleError(file, offending)
    return Builder(tables, file, strict=True).build(parsed.tree)


def loads_inert(data: bytes | memoryview, *, file: str) -> object:
    """Return what a pickle holds, with inert records (`Opaque`) of whatever is not plain data.

    Tensors come as NumPy arrays; torch is not imported. Files of ``torch.save`` are read as well.

    Args:
        data: The pickle.
        file: What to call it in messages.

    Raises:
        CorruptDataError: The bytes are damaged.
        UntrustedPickleError: It uses codes of ``copyreg``'s registry of extensions.
        PickleReadError: It is nested too deeply.
    """
    return _read_inertly(data, file, {})


def list_globals(data: bytes | memoryview, *, file: str) -> tuple[str, ...]:
    """Return every ``module:name`` that a pickle would import, in order, without doing so.

    A persistent id, which would call the reader's own hook, is listed as
    ``pickle:persistent_load``. The pickles inside torch's storages are included.

    Args:
        data: The pickle.
        file: What to call it in messages.

    Raises:
        CorruptDataError: The bytes are damaged.
        PickleReadError: It is nested too deeply.
    """
    names: dict[str, None] = {}
    try:
        _read_inertly(data, file, names)
    except UntrustedPickleError as refusal:
        return (*names, *refusal.names)
    return tuple(names)


def _read_inertly(data: bytes | memoryview, file: str, names: dict[str, None]) -> object:
    if pickle_torch.is_torch_file(data):
        return pickle_torch.read_file(data, file, names)
    parsed = parse(data, file)
    names.update(dict.fromkeys(parsed.names))
    if not parsed.names:
        return parsed.tree  # plain containers all the way down
    tables = Tables(VALUES, CALLS | pickle_torch.calls_for_arrays(file, names))
    return Builder(tables, file, strict=False).build(parsed.tree)
