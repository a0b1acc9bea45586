"""One state file of any generation, read inertly."""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats import msgpack
from tune_ckpt.formats.document import MAGIC
from tune_ckpt.formats.io import BytesSource
from tune_ckpt.formats.pickle import loads_inert
from tune_ckpt.formats.rllib_reading import with_arrays
from tune_ckpt.tree.inspection.contents import loads
from tune_ckpt.tree.storage.folder import Store


def read_file(store: Store, name: str) -> Any:
    """Return what a file holds: plain values, NumPy arrays, and `Opaque` records of the rest.

    Args:
        store: Its folder.
        name: Its name, whose suffix tells the format.

    Raises:
        CorruptDataError: It is damaged.
        UntrustedPickleError, PickleReadError: It is a pickle that cannot even be read inertly.
        StorageError: It cannot be read.
    """
    data, path = store.read_bytes(name), store.path(name)
    if not data:
        raise CorruptDataError(path, "it is empty")
    if MAGIC.encode() in data[:16]:  # a component of ours inside a tree of RLlib's
        return msgpack.load(BytesSource(data, path), tensors="numpy")
    value = loads(data, path)
    return with_arrays(value, path) if _PATCHED in data else value


_PATCHED = b"C\x02nd"  # in a pickle, a key of the dicts that RLlib's patch of msgpack makes


def read_nested(value: Any, file: str) -> Any:
    """Return what a pickle inside a pickle holds; any other value as it is."""
    return loads_inert(value, file=file) if isinstance(value, bytes) else value
