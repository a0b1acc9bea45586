"""A checkpoint written again in another format or dialect, ours or RLlib's own, on files alone."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

from tune_ckpt.errors import Fault, InvalidArgumentError, NotACheckpointError, UnsupportedStateError
from tune_ckpt.formats import rllib_dialect
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.formats.packed import Buffers, Packed
from tune_ckpt.formats.pickle_by_name import dumps_by_name
from tune_ckpt.formats.references import Reference
from tune_ckpt.objects.rewriting import read_component, rewrite
from tune_ckpt.rllib.converting import convert as rllib
from tune_ckpt.rllib.converting.folders import Folder, open_empty, write
from tune_ckpt.rllib.reading.finding import find
from tune_ckpt.tree.apart import check_outside
from tune_ckpt.tree.archive import archive, check_no_archive, is_archive_name
from tune_ckpt.tree.consistency import consistently
from tune_ckpt.tree.layout import CHECKPOINT_VERSION, CTOR, FORMATS, RLLIB_FIELDS, STATE, Format
from tune_ckpt.tree.packing import Component, PackedComponent, pack_tree
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import (
    Store,
    address_of,
    is_plain_file,
    open_store,
    path_and_filesystem,
)
from tune_ckpt.tree.storage.traffic import Encoded

Dialect = Literal["typed", "rllib"]


def convert_checkpoint(
    src: Any,
    dst: str | os.PathLike[str] | None = None,
    *,
    to: Format = "msgpack",
    dialect: Dialect | None = None,
    filesystem: Any = None,
    allow_pickle: bool = False,
) -> str:
    """Write a checkpoint again: one of this package, or of RLlib's own.

    ==========  ===========  =================  ====================================================
    source      ``to``       ``dialect``        see
    ==========  ===========  =================  ====================================================
    ours        ``msgpack``  ``typed``          exact; the default of ours
    ours        ``pickle``                      classes are named, and need not be importable
    ours        ``msgpack``  ``rllib``          what RLlib's ``Checkpointable`` reads; it has no
                                                digests
    RLlib's     ``msgpack``  ``rllib``          `tune_ckpt.rllib.convert_to_msgpack_checkpoint`; the
                                                default of RLlib's
    ==========  ===========  =================  ====================================================

    Args:
        src: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        dst: The new checkpoint's path; None to convert in place, which only the first two can. One
            that ends in ``.zip`` becomes a single file, which only these can be, too.
        to: The new format.
        dialect: How msgpack is written.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both paths are to be looked up.
        allow_pickle: Let the pickles import and call what they name. Only for checkpoints whose
            writer you trust. RLlib's are never let.

    Returns:
        The new checkpoint's path.

    Raises:
        InvalidArgumentError: There is no such conversion, or the new path is in the checkpoint.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint.
        UnsupportedStateError: The new format cannot bring back some values; all are listed.
        UntrustedPickleError: A pickle names more than harmless things.
        PickleReadError: A trusted one cannot be read here, or holds code of another Python.
        CorruptDataError: A file of the source is not what was written.
        OccupiedFolderError: Files that are no checkpoint's would be replaced.
        StorageError: The storage refuses; an older checkpoint there is untouched.
    """
    store = open_store(src, filesystem)
    ours = not is_plain_file(src, filesystem) and _is_ours(store)
    source = store if ours else _find_rllibs(src, filesystem)
    key = (ours, to, dialect or ("typed" if ours else "rllib"))
    if key not in _WAYS:
        raise _no_such_way(*key)
    if dst is None and key not in _IN_PLACE:
        raise InvalidArgumentError("dst", dst, ["the path of a new folder"])
    if dst is not None:
        check_outside("dst", open_store(dst, filesystem), source)
    if dst is None or not is_archive_name(dst):
        return _WAYS[key](src, dst, filesystem, allow_pickle)
    if key not in _IN_PLACE:
        check_no_archive("dst", dst)
    with tempfile.TemporaryDirectory(prefix="tune_ckpt-") as folder:
        path, of_source = path_and_filesystem(src, filesystem)
        there = SimpleNamespace(path=path, filesystem=of_source)
        made = _WAYS[key](there, f"{folder}/checkpoint", None, allow_pickle)
        return archive(made, dst, filesystem=filesystem)


def convert_to_msgpack_checkpoint(
    src: Any,
    dst: str | os.PathLike[str] | None = None,
    *,
    filesystem: Any = None,
    allow_pickle: bool = False,
) -> str:
    """Write a checkpoint again as msgpack, RLlib's own as RLlib reads it.

    Converting one of ours that is msgpack already changes nothing. RLlib's have more options in
    `tune_ckpt.rllib.convert_to_msgpack_checkpoint`.

    >>> convert_to_msgpack_checkpoint("old_checkpoint", "portable")  # doctest: +ELLIPSIS
    '.../portable'

    Args:
        src: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        dst: The new checkpoint's path, a single file where it ends in ``.zip`` (not RLlib's). None
            to convert in place, where the new tree takes the old one's place in one step (not
            RLlib's). Only for checkpoints at rest: Tune deletes and rewrites those of a running
            sweep.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both paths are to be looked up.
        allow_pickle: Let the pickles import and call what they name. Only for checkpoints whose
            writer you trust. RLlib's are never let.

    Returns:
        The new checkpoint's path.

    Raises:
        InvalidArgumentError: The new path is in the checkpoint.
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint.
        UnsupportedStateError: msgpack cannot bring back some values; all are listed.
        UntrustedPickleError: A pickle names more than harmless things.
        PickleReadError: A trusted one cannot be read here, or holds code of another Python.
        CorruptDataError: A file of the source is not what was written.
        OccupiedFolderError: Files that are no checkpoint's would be replaced.
        StorageError: The storage refuses; an older checkpoint there is untouched.
    """
    return convert_checkpoint(src, dst, filesystem=filesystem, allow_pickle=allow_pickle)


def _no_such_way(ours: bool, to: str, dialect: str) -> InvalidArgumentError:
    dialects: dict[str, list[str]] = {}
    for of_ours, format, one in _WAYS:
        if of_ours is ours:
            dialects.setdefault(format, []).append(one)
    if to not in dialects:
        why = "" if ours else "RLlib's own checkpoints are written as msgpack only"
        return InvalidArgumentError("to", to, [*dialects], why)
    return InvalidArgumentError("dialect", dialect, dialects[to])


def _is_ours(store: Store) -> bool:
    try:
        open_tree(store)
    except NotACheckpointError:
        return False
    return True


def _find_rllibs(src: Any, filesystem: Any) -> Store:
    """Return the folder of a checkpoint of RLlib's."""
    try:
        return find(src, filesystem).folder.store
    except NotACheckpointError as error:
        reason = f"neither tune_ckpt nor RLlib wrote it ({error.found})"
        raise NotACheckpointError(error.path, reason) from error


def _of_rllib(src: Any, dst: Any, filesystem: Any, allow_pickle: bool) -> str:
    return rllib.convert_to_msgpack_checkpoint(src, dst, filesystem=filesystem)


def _to_ours(format: Format, src: Any, dst: Any, filesystem: Any, allow_pickle: bool) -> str:
    pack = _pack_by_name if FORMATS[format].holds_classes else pack_tree
    return rewrite(src, dst, format, pack, filesystem=filesystem, allow_pickle=allow_pickle)


def _pack_by_name(component: Component, format: Format) -> PackedComponent:
    _name_classes(component)
    return pack_tree(component, format, lambda _: _pickle_by_name)


def _pickle_by_name(value: Any) -> Packed:
    return Buffers([dumps_by_name(value, Encoded())])


def _to_rllib(src: Any, dst: Any, filesystem: Any, allow_pickle: bool) -> str:
    target = open_empty(dst, filesystem, "convert into")
    options = ReadOptions(allow_pickle, tensors="numpy")
    component = consistently(
        open_store(src, filesystem), lambda opened: read_component(opened, options)
    )
    _name_classes(component)
    faults: list[Fault] = []
    folder = _rllib_folder(component, (), faults)
    if faults:
        raise UnsupportedStateError(tuple(faults))
    write(target, folder)
    return address_of(dst, filesystem)


_WAYS: dict[tuple[bool, str, str], Callable[[Any, Any, Any, bool], str]] = {
    **{(True, format, "typed"): partial(_to_ours, format) for format in FORMATS},
    (True, "msgpack", "rllib"): _to_rllib,
    (False, "msgpack", "rllib"): _of_rllib,
}
_IN_PLACE = {(True, format, "typed") for format in FORMATS}


def _name_classes(component: Component) -> None:
    # In a pickle the class is more than text: it is named so that whoever loads it imports it.
    stored = component.ctor
    if stored is not None:
        component.ctor = lambda format: {**stored(format), "class": Reference(component.cls)}
    for child in component.components.values():
        if isinstance(child, Component):
            _name_classes(child)


def _rllib_folder(component: Component, path: tuple[str, ...], faults: list[Fault]) -> Folder:
    folder = Folder()
    metadata = {
        RLLIB_FIELDS[CTOR]: component.names.ctor,
        RLLIB_FIELDS[STATE]: component.names.state,
        "checkpoint_version": CHECKPOINT_VERSION,
    }
    folder.metadata[component.names.metadata] = json.dumps({**component.extra, **metadata}).encode()
    if component.ctor is not None:
        folder.files[component.names.ctor] = dumps_by_name(component.ctor("pickle"))
    try:
        state = rllib_dialect.pack(component.state)
        folder.files[component.names.file(STATE, "msgpack")] = state
    except UnsupportedStateError as error:
        faults += [fault.below(*path) for fault in error.faults]
    for name, child in component.components.items():
        if isinstance(child, Component):
            folder.children[name] = _rllib_folder(child, (*path, name), faults)
    return folder
