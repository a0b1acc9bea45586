"""msgpack with NumPy arrays in it, as RLlib's ``try_import_msgpack`` returns it.

It has msgpack's functions, and nothing outside of it is patched. What it reads and writes is what
RLlib does; arrays of objects, which RLlib unpickles, are read as plain data or refused.

RLlib's own function puts msgpack_numpy in the place of msgpack for the whole process. Ray sends its
objects by msgpack too: from then on, workers get dicts with ``b"nd"`` in them instead of arrays.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any, BinaryIO

from tune_ckpt.formats import rllib_dialect
from tune_ckpt.formats.io import BytesSink, BytesSource


def try_import_msgpack(error: bool = False) -> ModuleType:
    """Return a module with msgpack's functions ``dump(s)``, ``load(s)``, ``packb`` and ``unpackb``.

    Unlike RLlib's function of that name, this patches nothing: msgpack itself stays as it is, for
    Ray and everybody else in the process. Where msgpack_numpy was put in its place already, which
    is what RLlib's function does, that is undone, with a warning: Ray cannot send arrays so.

    Args:
        error: As in RLlib; msgpack is always there.
    """
    import msgpack

    if msgpack.Packer.__module__.startswith("msgpack_numpy"):
        importlib.reload(msgpack)  # the module stays the same, and its functions are its own again
        warnings.warn(_UNDONE, RuntimeWarning, stacklevel=2)
    return sys.modules[__name__]


_UNDONE = (
    "msgpack was patched by msgpack_numpy, as RLlib's try_import_msgpack() does it: Ray's workers "
    "get dicts where arrays were sent. It is itself again; call "
    "tune_ckpt.rllib.try_import_msgpack() instead of RLlib's."
)


def dumps(value: Any) -> bytes:
    """Return a value as msgpack.

    Raises:
        UnsupportedStateError: It holds values that could not be read again; all are listed.
    """
    stream = rllib_dialect.pack(value)
    sink = BytesSink(stream.nbytes)
    stream.write(sink)
    return bytes(sink.buffer)


def loads(data: bytes, *, raw: bool = False, strict_map_key: bool = False) -> Any:
    """Return what some msgpack holds; arrays are writable.

    Args:
        data: The bytes.
        raw: As in msgpack, only False is possible.
        strict_map_key: Accepted for RLlib's sake; any key is read.

    Raises:
        CorruptDataError: They are no msgpack.
        UntrustedPickleError: An array of objects holds more than plain data.
    """
    return rllib_dialect.load(BytesSource(data))


def dump(value: Any, file: BinaryIO) -> None:
    """Write a value to a file, see `dumps`."""
    file.write(dumps(value))


def load(file: BinaryIO, *, raw: bool = False, strict_map_key: bool = False) -> Any:
    """Return what a file holds, see `loads`."""
    return loads(file.read())


packb, unpackb = dumps, loads
