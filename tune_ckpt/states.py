"""Checkpoints without a class: plain states, and dicts of objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tune_ckpt.actors import actors_of
from tune_ckpt.adapters import adapter_of
from tune_ckpt.background import PendingSave, Saver
from tune_ckpt.checkpointable import Checkpointable
from tune_ckpt.components import Loaded, component_of, load_for
from tune_ckpt.errors import Fault, RestoreError
from tune_ckpt.formats.msgpack import Tensors
from tune_ckpt.tree.consistency import consistently
from tune_ckpt.tree.files import ReadOptions
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.packing import Component
from tune_ckpt.tree.reading import OpenComponent
from tune_ckpt.tree.store import open_store
from tune_ckpt.tree.writing import Saved, save_tree

_CLASS = "builtins:dict"


def save_state(
    state: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    format: Format = "msgpack",
    filesystem: Any = None,
    base: Any = None,
    durable: bool = False,
) -> Saved:
    """Save a state as a checkpoint of one component, which replaces whatever checkpoint is there.

    Args:
        state: Nested dicts of plain values and arrays.
        path: A local path or a URI.
        format: ``"msgpack"`` or ``"pickle"``.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` and ``base`` are to be looked up.
        base: The path of an older checkpoint on the same storage. Components that have not changed
            since are taken over from it, without writing them again: cloned or linked on a local
            disk, copied by the storage itself elsewhere. The base may be deleted afterwards.
        durable: Come back only when all of it would survive a loss of power (local disks; other
            storage sees to that itself).

    Returns:
        Where it is, its content digest, its size, and how much of it was taken over.

    Raises:
        UnsupportedStateError: The format cannot bring back some values; all are listed.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint at ``base``.
        StorageError: The storage refuses; an older checkpoint there is untouched.
    """
    component = Component(_CLASS, dict(state))
    return save_tree(component, path, format, filesystem=filesystem, base=base, durable=durable)


def load_state(
    path: Any,
    component: str | None = None,
    *,
    mmap: bool = False,
    tensors: Tensors | None = None,
    allow_pickle: bool = False,
    filesystem: Any = None,
) -> Any:
    """Return the state in a checkpoint, its subcomponents' states under their names.

    No class is imported or constructed. Every byte that is read is verified.

    Args:
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        component: Only this subcomponent, ``/`` between levels.
        mmap: Map arrays instead of reading them (msgpack on local disk): at once, whatever their
            size; writing to them does not change the file. Mapped arrays are not verified.
        tensors: ``"torch"`` or ``"numpy"``: how torch tensors come back. By default as tensors
            where torch is installed.
        allow_pickle: Let pickles import and call what they name. Only for checkpoints whose writer
            you trust.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint.
        ComponentNotFoundError: It has no such component.
        CorruptDataError: A file is not what was written.
        UntrustedPickleError: A pickle names more than harmless things.
    """
    options = ReadOptions(allow_pickle, mmap=mmap, tensors=tensors)

    def read(opened: OpenComponent) -> Any:
        return _nested(opened.child(component) if component else opened, options)

    return consistently(open_store(path, filesystem), read)


def _nested(opened: OpenComponent, options: ReadOptions) -> Any:
    state = opened.state(options)
    children = {name: _nested(child, options) for name, child in opened.children()}
    return {**state, **children} if children else state


def _is_component(value: Any) -> bool:
    known = hasattr(value, "get_checkpointable_components") or adapter_of(value) is not None
    return known or actors_of(value) is not None


def save(
    parts: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    format: Format = "msgpack",
    filesystem: Any = None,
    base: Any = None,
    durable: bool = False,
) -> Saved:
    """Save several objects and values as one checkpoint.

    >>> save({"model": model, "optimizer": optimizer, "step": 3}, path)  # doctest: +SKIP

    Args:
        parts: Objects that can be components (see `Checkpointable.get_checkpointable_components`)
            and plain values.
        path: A local path or a URI.
        format: ``"msgpack"`` or ``"pickle"``.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` and ``base`` are to be looked up.
        base: The path of an older checkpoint on the same storage. Components that have not changed
            since are taken over from it, without writing them again: cloned or linked on a local
            disk, copied by the storage itself elsewhere. The base may be deleted afterwards.
        durable: Come back only when all of it would survive a loss of power (local disks; other
            storage sees to that itself).

    Returns:
        Where it is, its content digest, its size, and how much of it was taken over.

    Raises:
        UnsupportedStateError: The format cannot bring back some values; all are listed.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint at ``base``.
        StorageError: The storage refuses; an older checkpoint there is untouched.
    """
    _SAVER.settle()  # or an older state, still being written, would come last
    component = _component_of_parts(parts)
    return save_tree(component, path, format, filesystem=filesystem, base=base, durable=durable)


def save_async(
    parts: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    format: Format = "msgpack",
    filesystem: Any = None,
    base: Any = None,
    durable: bool = False,
    wait: bool = True,
) -> PendingSave:
    """Save several objects and values as one checkpoint in the background, as they are now.

    The call takes a snapshot, and comes back; what happens to the objects later does not change
    what is saved. One such save is under way in a process at a time, so there is never more than
    one snapshot; its memory is kept for the next. Python ends only when the save has ended.

    >>> pending = save_async({"model": model, "step": 3}, path)  # doctest: +SKIP
    >>> pending.result().digest  # doctest: +SKIP

    Args:
        parts: As for `save`.
        path: As for `save`.
        format: As for `save`. A pickle is made in the background of what an unpickled copy of the
            state holds: an object in it that cannot be unpickled is an error of the save.
        filesystem: As for `save`.
        base: As for `save`.
        durable: As for `save`.
        wait: Wait for the save before, where it has not ended. Where not, that is an error.

    Returns:
        A handle; its ``result()`` waits for the end, and raises the error if there was one.

    Raises:
        SaveInFlightError: The save before has not ended, and ``wait`` is false.
        UnsupportedStateError: The format cannot bring back some values; all are listed.
        StorageError: The save before failed, and nobody has asked for its result. This one was not
            begun.
    """
    return _SAVER.start(
        lambda: _component_of_parts(parts),
        path,
        format,
        wait=wait,
        filesystem=filesystem,
        base=base,
        durable=durable,
    )


_SAVER = Saver()


def _component_of_parts(parts: Mapping[str, Any]) -> Component:
    plain = {name: value for name, value in parts.items() if not _is_component(value)}
    children = {name: component_of(part) for name, part in parts.items() if name not in plain}
    return Component(_CLASS, plain, components=children)


def restore(
    parts: Mapping[str, Any],
    path: Any,
    *,
    allow_pickle: bool = False,
    filesystem: Any = None,
) -> dict[str, Any]:
    """Restore the objects of a checkpoint that `save` made, and return its plain values.

    Args:
        parts: The objects by name, as they were saved; values that are no components are ignored.
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        allow_pickle: Let pickles import and call what they name. Only for checkpoints whose writer
            you trust.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Raises:
        RestoreError: The checkpoint has other components; nothing was touched.
    """
    objects = {name: part for name, part in parts.items() if _is_component(part)}
    options = ReadOptions(allow_pickle)

    def read(opened: OpenComponent) -> tuple[Any, dict[str, Loaded]]:
        _check_same(opened, objects)
        loaded = {
            name: load_for(part, opened.child(name), options) for name, part in objects.items()
        }
        return opened.state(options), loaded

    plain, loaded = consistently(open_store(path, filesystem), read)
    for name, part in objects.items():
        loaded[name].give_to(part)
    return dict(plain)


def _check_same(opened: OpenComponent, objects: Mapping[str, Any]) -> None:
    stored = opened.metadata.components
    missing = [Fault(name, "not in the checkpoint") for name in objects if name not in stored]
    extra = [Fault(name, "in the checkpoint only") for name in stored if name not in objects]
    if missing or extra:
        raise RestoreError(opened.store.location, (*missing, *extra))


def restore_object(
    path: Any,
    cls: type[Checkpointable] | None = None,
    *,
    filesystem: Any = None,
    allow_pickle: bool = False,
) -> Any:
    """Return the object that a checkpoint was saved from.

    Args:
        path: The checkpoint: a local path or a URI.
        cls: Its class; by default any `Checkpointable` of the stored name that is imported already.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
        allow_pickle: Let pickles import and call what they name. Only for checkpoints whose writer
            you trust.

    Raises:
        ClassNotFoundError: No such class is imported.
    """
    kind: Any = Checkpointable if cls is None else cls
    return kind.from_checkpoint(path, filesystem=filesystem, allow_pickle=allow_pickle)
