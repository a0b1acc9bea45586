"""Where a checkpoint may be written that is made of another one: outside of that one's folder.

What lies in a checkpoint's folder is taken for a part of it, and what is overwritten while it is
read is lost.
"""

from __future__ import annotations

import os
from typing import Any

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.tree.storage.folder import Store

_EXPECTED = ("another path than the checkpoint's own, and none in it",)


def check_apart(argument: str, target: Store, source: Store) -> None:
    """Check that what is written is neither the checkpoint that it is made of, nor in it.

    Args:
        argument: What the caller's argument for it is called.
        target: The folder or file that is to be written.
        source: The checkpoint's folder.

    Raises:
        InvalidArgumentError: It is.
    """
    check_outside(argument, target, source)
    if _place(target) == _place(source):
        raise InvalidArgumentError(argument, target.location, _EXPECTED)


def check_outside(argument: str, target: Store, source: Store) -> None:
    """Check that what is written is not below the checkpoint that it is made of.

    See `check_apart`; this is for what may take the checkpoint's own place.
    """
    (here, inner), (there, outer) = _place(target), _place(source)
    if here == there and len(inner) > len(outer) and inner[: len(outer)] == outer:
        why = f"it is in the checkpoint {source.location}, and would become a part of that"
        raise InvalidArgumentError(argument, target.location, _EXPECTED, why)


def _place(store: Store) -> tuple[Any, list[str]]:
    """Return the filesystem that a folder is on, and the names that lead to it there."""
    is_local = store.filesystem is None
    path = os.path.realpath(store.location) if is_local else store.location
    return store.filesystem, path.rstrip("/").split("/")
