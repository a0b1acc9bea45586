"""Where bytes live: from a path, a URI or a Ray Checkpoint to the folder that it means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tune_ckpt.errors import StorageError
from tune_ckpt.tree.arrow import ArrowStore
from tune_ckpt.tree.folder import TEMPORARY, Entry, Store
from tune_ckpt.tree.local import LocalStore

__all__ = ["TEMPORARY", "ArrowStore", "Entry", "LocalStore", "Store", "open_store"]


def open_store(path: Any, filesystem: Any = None) -> Store:
    """Return the folder at ``path``, which need not exist.

    Args:
        path: A local path, a URI (``file://``, ``s3://``, ``gs://``...), or an object that has
            ``path`` and ``filesystem`` (``ray.tune.Checkpoint``, ``ray.train.Checkpoint``).
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
    """
    if hasattr(path, "filesystem") and hasattr(path, "path"):
        path, filesystem = path.path, path.filesystem
    text = os.fspath(path)
    if filesystem is None and "://" in text:
        filesystem, text = _from_uri(text)
    if filesystem is None or getattr(filesystem, "type_name", "") == "local":
        return LocalStore(Path(text).absolute())
    return ArrowStore(filesystem, text)


def _from_uri(uri: str) -> tuple[Any, str]:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return None, unquote(parts.path)
    from pyarrow import fs

    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise StorageError(uri, "open", str(error)) from error
    return filesystem, path
