"""Reading a whole checkpoint of one writer while another replaces it, without a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tune_ckpt.errors import CorruptDataError, StorageError
from tune_ckpt.tree.reading import OpenComponent, may_be_torn, open_tree
from tune_ckpt.tree.storage.folder import Store

T = TypeVar("T")

_TRIES = 100  # each after the first because a writer replaced the checkpoint meanwhile


def consistently(store: Store, read: Callable[[OpenComponent], T]) -> T:
    """Return what ``read`` makes of a checkpoint, all of it as one writer left it.

    Args:
        store: The checkpoint's folder.
        read: Reads all that is wanted and has no other effect: where the checkpoint is replaced
            meanwhile, it is called again.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: There is none.
        CorruptDataError: A file is not what was written, though nobody replaced it.
    """
    opened = open_tree(store)
    for _ in range(_TRIES):
        try:
            return read(opened)
        except (CorruptDataError, StorageError) as error:
            if not may_be_torn(error):
                raise
            again = open_tree(store)
            if again.is_same_as(opened):
                raise
            opened = again
    return read(opened)


def check_not_replaced(store: Store, opened: OpenComponent) -> None:
    """Check that the checkpoint at ``store`` is still the one that was opened.

    Raises:
        CorruptDataError: Another one took its place; `consistently` begins again then.
    """
    if not open_tree(store).is_same_as(opened):
        raise CorruptDataError(store.location, "it was replaced while it was being read")
