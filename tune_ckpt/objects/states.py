"""Plain states as checkpoints of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, get_args

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.formats.msgpack import Tensors
from tune_ckpt.objects.selection import ROOT
from tune_ckpt.tree.consistency import consistently
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.packing import DICT, Component
from tune_ckpt.tree.reading import OpenComponent
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tree.writing import Saved, save_tree


def save_state(
    state: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    format: Format = "msgpack",
    base: Any = None,
    durable: bool = False,
    filesystem: Any = None,
) -> Saved:
    """Save a state as a checkpoint of one component, which replaces whatever checkpoint is there.

    >>> saved = save_state({"weights": np.ones((2, 3)), "step": 7}, "states/7")
    >>> save_state({"weights": np.ones((2, 3)), "step": 7}, "again").digest == saved.digest
    True

    Args:
        state: Nested dicts of plain values and arrays.
        path: A local path or a URI.
        format: ``"msgpack"`` or ``"pickle"``.
        base: The path of an older checkpoint on the same storage. Components that have not changed
            since are taken over from it, without writing them again: cloned or linked on a local
            disk, copied by the storage itself elsewhere. The base may be deleted afterwards.
        durable: Come back only when all of it would survive a loss of power (local disks; other
            storage sees to that itself).
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` and ``base`` are to be looked up.

    Returns:
        Where it is, its content digest, its size, and how much of it was taken over.

    Raises:
        InvalidArgumentError: The state is no dict, or there is no such format.
        UnsupportedStateError: The format cannot bring back some values; all are listed.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint at ``base``.
        OccupiedFolderError: Files that are no checkpoint's would be replaced.
        StorageError: The storage refuses; an older checkpoint there is untouched.
    """
    if not isinstance(state, Mapping):
        raise InvalidArgumentError("state", state, ("a dict of plain values and arrays",))
    component = Component(DICT, state if isinstance(state, dict) else dict(state))
    return save_tree(component, path, format, filesystem=filesystem, base=base, durable=durable)


def load_state(
    path: Any,
    component: str | None = None,
    *,
    at: str | None = None,
    mmap: bool = False,
    tensors: Tensors | None = None,
    device: Any = None,
    filesystem: Any = None,
    allow_pickle: bool = False,
) -> Any:
    """Return the state in a checkpoint, its subcomponents' states under their names.

    Beside those, a state that is no dict stands under ``"."``. No class is imported or constructed.
    Every byte that is read is verified.

    >>> load_state("checkpoint")["step"]
    7
    >>> load_state("agent", "model/head")
    {'w': array([ 7., -7.], dtype=float32)}
    >>> load_state("agent", "model/head", at="w")
    array([ 7., -7.], dtype=float32)

    Args:
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        component: Only this subcomponent, ``/`` between levels.
        at: Only this part of the component's own state: a path through dicts' keys and lists'
            indices. Of msgpack, only its arrays are read, also from remote storage.
        mmap: Map arrays instead of reading them (msgpack on local disk): at once, whatever their
            size; writing to them does not change the file. Mapped arrays are not verified.
        tensors: ``"torch"`` or ``"numpy"``: how torch tensors come back. By default as tensors
            where torch is installed, else as arrays. With ``allow_pickle``, pickled ones stay
            tensors.
        device: Where torch tensors are put; by default on the CPU, wherever they were saved.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
        allow_pickle: Let pickles import and call what they name. Only for checkpoints whose writer
            you trust.

    Raises:
        InvalidArgumentError: There is no such way for tensors to come back.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint.
        ComponentNotFoundError: It has no such component.
        PartNotFoundError: Its state has no such part.
        CorruptDataError: A file is not what was written.
        UntrustedPickleError: A pickle names more than harmless things.
        PickleReadError: A trusted pickle cannot be read here, or holds code of another Python.
    """
    if tensors not in (None, *get_args(Tensors)):
        raise InvalidArgumentError("tensors", tensors, (*get_args(Tensors), None))
    options = ReadOptions(allow_pickle, mmap=mmap, tensors=tensors, at=at)

    def read(opened: OpenComponent) -> Any:
        """Return what is wanted of a tree that was opened."""
        wanted = opened.child(component) if component else opened
        return _nested(wanted, options) if at is None else wanted.state(options)

    state = consistently(open_store(path, filesystem), read)
    if device is None:
        return state
    from tune_ckpt.objects.adapters.torch_objects import moved

    return moved(state, device)


def _nested(opened: OpenComponent, options: ReadOptions) -> Any:
    state = opened.state(options)
    children = {name: _nested(child, options) for name, child in opened.children()}
    if not children:
        return state
    return {**(state if isinstance(state, Mapping) else {ROOT: state}), **children}
