"""Checkpoints without a class of the user's: dicts of objects; and objects out of checkpoints."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from tune_ckpt.checkpointable import Checkpointable
from tune_ckpt.errors import InvalidArgumentError, RestoreReport
from tune_ckpt.objects.background import PendingSave, Saver
from tune_ckpt.objects.bundle import Bundle
from tune_ckpt.objects.constructing import restored_object
from tune_ckpt.objects.parts import read_parts
from tune_ckpt.objects.random_generators import with_own_generators
from tune_ckpt.objects.restoring import give_parts
from tune_ckpt.objects.wishes import Wishes
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.metadata import Metadata
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tree.writing import Saved, save_tree


def save(
    parts: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    format: Format = "msgpack",
    base: Any = None,
    durable: bool = False,
    filesystem: Any = None,
) -> Saved:
    """Save several objects and values as one checkpoint.

    >>> save({"model": model, "optimizer": optimizer, "step": 3}, "run/3")  # doctest: +ELLIPSIS
    Saved(path='.../run/3', digest='...', nbytes=..., reused_nbytes=0)

    Args:
        parts: Objects that can be components (see `Checkpointable.get_checkpointable_components`)
            and plain values.
        path: A local path or a URI.
        format: ``"msgpack"`` or ``"pickle"``.
        base: As for `tune_ckpt.save_state`.
        durable: As for `tune_ckpt.save_state`.
        filesystem: As for `tune_ckpt.save_state`.

    Returns:
        Where it is, its content digest, its size, and how much of it was taken over.

    Raises:
        InvalidArgumentError: ``parts`` is no dict, or there is no such format.
        UnsupportedStateError: The format cannot bring back some values; all are listed.
        UnsupportedComponentError: Nothing tells how to take an object's state.
        InvalidNameError: An object's name cannot be a folder's.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint at ``base``.
        OccupiedFolderError: Files that are no checkpoint's would be replaced.
        StorageError: The storage refuses; an older checkpoint there is untouched. Or a save in the
            background failed, and nobody has asked for its result; then this one was not begun.
    """
    _SAVER.settle()  # or an older state, still being written, would come last
    component = Bundle(parts).component()
    return save_tree(component, path, format, filesystem=filesystem, base=base, durable=durable)


def save_async(
    parts: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    format: Format = "msgpack",
    base: Any = None,
    durable: bool = False,
    wait: bool = True,
    filesystem: Any = None,
) -> PendingSave:
    """Save several objects and values as one checkpoint in the background, as they are now.

    The call takes a snapshot, and comes back; what happens to the objects later does not change
    what is saved. One such save is under way in a process at a time, so there is never more than
    one snapshot; its memory is kept for the next. Python ends only when the save has ended.

    >>> pending = save_async({"model": model, "step": 4}, "run/4")
    >>> pending.result().reused_nbytes
    0

    Args:
        parts: As for `save`.
        path: As for `save`.
        format: As for `save`. A pickle is made in the background of what an unpickled copy of the
            state holds: an object in it that cannot be unpickled is an error of the save.
        base: As for `save`.
        durable: As for `save`.
        wait: Wait for the save before, where it has not ended. Where not, that is an error.
        filesystem: As for `save`.

    Returns:
        A handle; its ``result()`` waits for the end, and raises the error if there was one.

    Raises:
        SaveInFlightError: The save before has not ended, and ``wait`` is false.
        InvalidArgumentError, UnsupportedStateError, UnsupportedComponentError, InvalidNameError: As
            for `save`.
        StorageError: The save before failed, and nobody has asked for its result. This one was not
            begun.
    """
    return _SAVER.start(
        lambda: Bundle(parts).component(),
        path,
        format,
        base=base,
        durable=durable,
        wait=wait,
        filesystem=filesystem,
    )


_SAVER = Saver()


class Restored(dict[str, Any]):
    """The plain values of a checkpoint that was restored.

    Attributes:
        report: What was loaded, and what did not fit.
    """

    report: RestoreReport


def restore_by_name(
    parts: Mapping[str, Any], path: Any, filesystem: Any, wishes: Wishes
) -> tuple[Restored, Metadata | None]:
    """Restore the objects of a checkpoint that `save` made.

    Args:
        parts: The objects by name, as they were saved.
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
        wishes: How they are to be restored.

    Returns:
        The plain values, and what the checkpoint says of itself; None where another library wrote
        it.

    Raises:
        InvalidArgumentError: ``parts`` is no dict.
        RestoreError: The checkpoint does not fit; all differences are listed.
        SelfTestError: A component's ``selftest()`` returns something other than when it was saved.
        StateRefusedError: An object's own code raised an error.
    """
    bundle = Bundle(parts)
    found = read_parts(open_store(path, filesystem), bundle, wishes)
    report = give_parts(bundle, found, wishes)
    restored = Restored(with_own_generators(bundle.plain(), parts))
    restored.report = report
    return restored, found.metadata


def restore_object(
    path: Any,
    cls: type[Any] | None = None,
    *,
    filesystem: Any = None,
    allow_pickle: bool = False,
    trusted: str | Collection[str] = (),
    **kwargs: Any,
) -> Any:
    """Return the object that a checkpoint was saved from.

    >>> restore_object("agent", type(agent)).step
    7

    Args:
        path: The checkpoint: a local path or a URI.
        cls: Its class, which may also be one of RLlib's; by default any `Checkpointable` of the
            stored name that is imported already.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
        allow_pickle: As for `tune_ckpt.restore`.
        trusted: As for `tune_ckpt.restore`.
        kwargs: Arguments of the constructor and options, as in `Checkpointable.from_checkpoint`.

    Raises:
        InvalidArgumentError: ``cls`` is no class, or says nothing, like ``object``.
        ClassNotFoundError: No such class is imported or in a trusted module.
        NotInCheckpointError: It holds no object of a class, but what `save` saved by names.
        TuneCkptError: All others are those of `Checkpointable.from_checkpoint`.
    """
    kind: Any = Checkpointable if cls is None else cls
    if not isinstance(kind, type) or issubclass(type, kind):  # the latter are above all classes
        raise InvalidArgumentError("cls", cls, ("a class whose objects have a state", None))
    if issubclass(kind, Checkpointable):
        return kind.from_checkpoint(
            path, filesystem=filesystem, allow_pickle=allow_pickle, trusted=trusted, **kwargs
        )
    return restored_object(
        kind, path, filesystem, allow_pickle=allow_pickle, trusted=trusted, kwargs=kwargs
    )
