"""From a path, a URI or a Ray Checkpoint to the `Store` of the folder that it means."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tune_ckpt.errors import InvalidArgumentError, MissingDependencyError, StorageError
from tune_ckpt.tree.storage.arrow import ArrowStore
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tree.storage.zip_store import SUFFIX, ZipStore

__all__ = [
    "ArrowStore",
    "LocalStore",
    "Store",
    "address_of",
    "is_plain_file",
    "open_parent",
    "open_store",
    "path_and_filesystem",
]

_PATHS = ("a local path", "a URI", "a Ray Checkpoint", "a record of a sweep")
_CUT_URI = re.compile(r"[a-z][a-z0-9+.-]+:/(?!/)", re.IGNORECASE)
_WITH_BUCKETS = {"s3", "gs", "gcs"}  # without one, all of an account's would be listed


def open_store(path: Any, filesystem: Any = None) -> Store:
    """Return the folder at ``path``, which need not exist; a file ``*.zip`` is opened like one.

    Args:
        path: A local path (``~`` is the home), a URI (``file://``, ``s3://``, ``gs://``...), or an
            object that has ``path`` and ``filesystem`` (``ray.tune.Checkpoint``,
            ``ray.train.Checkpoint``).
        filesystem: A ``pyarrow.fs.FileSystem`` or an fsspec filesystem in which ``path`` is to be
            looked up.

    Raises:
        InvalidArgumentError: It is not a path, or not a filesystem.
        StorageError: No known storage has such URIs.
        MissingDependencyError: pyarrow is not installed, and the storage is a remote one.
    """
    text, filesystem = _looked_up(path, filesystem)
    if text.lower().endswith(SUFFIX):  # only then: each look costs a request
        parent, name = open_parent(text, filesystem)
        entry = parent.stat(name)
        if entry is not None and not entry.is_dir:
            return ZipStore.open_file(parent, name)
    return _folder(text, filesystem)


def open_parent(path: Any, filesystem: Any = None) -> tuple[Store, str]:
    """Return the folder in which ``path`` is, and its name there; see `open_store`."""
    text, filesystem = _looked_up(path, filesystem)
    parent, name = os.path.split(text.rstrip("/"))
    return _folder(parent, filesystem), name


def is_plain_file(path: Any, filesystem: Any = None) -> bool:
    """Say whether ``path`` is a file, and none that is opened like a folder; see `open_store`."""
    parent, name = open_parent(path, filesystem)
    entry = parent.stat(name) if name else None
    return entry is not None and not entry.is_dir and not name.lower().endswith(SUFFIX)


def address_of(path: Any, filesystem: Any = None) -> str:
    """Return what opens ``path`` again, in any folder: a URI as it is, with its options.

    Messages have it without those (`Store.location`): keys may be among them.
    """
    text, filesystem = _unwrapped(path, filesystem)
    if filesystem is None and "://" in text and not text.startswith("file:"):
        return text
    text, filesystem = _looked_up(text, filesystem)
    return _folder(text, filesystem).location


def path_and_filesystem(path: Any, filesystem: Any = None) -> tuple[Any, Any]:
    """Return what a Ray Checkpoint or a record of a sweep stands for; a path as it is."""
    if hasattr(path, "filesystem") and hasattr(path, "path"):
        return path.path, path.filesystem
    return path, filesystem


def _unwrapped(path: Any, filesystem: Any) -> tuple[str, Any]:
    path, filesystem = path_and_filesystem(path, filesystem)
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    is_empty = text == "" and filesystem is None  # of a filesystem it is the root
    if not isinstance(text, str) or "\0" in text or is_empty:
        raise InvalidArgumentError("path", path, _PATHS)
    if filesystem is None and _CUT_URI.match(text):
        why = "a URI has two slashes after its scheme (pathlib takes one away)"
        raise InvalidArgumentError("path", path, (*_PATHS, f"./{text} for a folder"), why)
    return (os.path.expanduser(text) if filesystem is None else text), filesystem  # as Ray does


def _looked_up(path: Any, filesystem: Any) -> tuple[str, Any]:
    text, filesystem = _unwrapped(path, filesystem)
    if filesystem is None and "://" in text:
        filesystem, text = _from_uri(text)
    return text, filesystem


def _folder(path: str, filesystem: Any) -> Store:
    if filesystem is None or _is_local(filesystem):
        return LocalStore(Path(path).absolute())
    return ArrowStore(_as_arrow(filesystem), path)


def _is_local(filesystem: Any) -> bool:
    protocols = getattr(filesystem, "protocol", ())  # fsspec's: one or several
    return getattr(filesystem, "type_name", "") == "local" or "file" in (protocols, *protocols)


def _as_arrow(filesystem: Any) -> Any:
    if hasattr(filesystem, "type_name"):
        return filesystem
    fsspec = sys.modules.get("fsspec")  # a caller with such a filesystem has imported it
    if fsspec is None or not isinstance(filesystem, fsspec.AbstractFileSystem):
        expected = ("a pyarrow.fs.FileSystem", "an fsspec filesystem")
        raise InvalidArgumentError("filesystem", filesystem, expected)
    try:
        from pyarrow import fs
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "A filesystem of fsspec's") from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem))


def _from_uri(uri: str) -> tuple[Any, str]:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return None, unquote(parts.path)
    if parts.scheme in _WITH_BUCKETS and not parts.netloc:
        raise StorageError(uri, "open", f"it names no bucket, as {parts.scheme}://bucket/path does")
    try:
        from pyarrow import fs
    except ImportError as error:
        raise MissingDependencyError("pyarrow", f"Storage at {parts.scheme}://") from error
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise StorageError(uri, "open", str(error)) from error
    return filesystem, path
