"""A checkpoint of ours in another format, on the files alone: no object of the user's is built."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tune_ckpt.errors import UntrustedPickleError
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.objects.classes import read_ctor
from tune_ckpt.tree.consistency import consistently
from tune_ckpt.tree.copying import to_be_copied
from tune_ckpt.tree.layout import CTOR, SELFTEST, STATE, Format
from tune_ckpt.tree.metadata import CONVERTED_FROM
from tune_ckpt.tree.packing import Component, PackedComponent, pack_tree
from tune_ckpt.tree.reading import OpenComponent, open_tree
from tune_ckpt.tree.storage.store import Store, address_of, open_store
from tune_ckpt.tree.writing import write_tree


def write_as_msgpack(
    src: Any,
    dst: str | os.PathLike[str] | None = None,
    *,
    filesystem: Any = None,
    allow_pickle: bool = False,
) -> str:
    """Write a checkpoint of ours again, all of it as msgpack.

    What is msgpack already stays as it is, or is copied byte by byte.

    Args:
        src: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        dst: The new checkpoint's path; None to convert in place, where the new tree takes the old
            one's place in one step. Only for checkpoints at rest: Tune deletes and rewrites those
            of a running sweep.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both paths are to be looked up.
        allow_pickle: Let the pickles import and call what they name, where they name more than
            harmless things. Only for checkpoints whose writer you trust.

    Returns:
        The new checkpoint's path.

    Raises:
        UnsupportedStateError: msgpack cannot bring back some values; all are listed.
        UntrustedPickleError: A pickle names more than harmless things.
        CorruptDataError: A file of the source is not what was written.
    """
    return rewrite(src, dst, "msgpack", filesystem=filesystem, allow_pickle=allow_pickle)


def rewrite(
    src: Any,
    dst: str | os.PathLike[str] | None,
    format: Format,
    pack: Callable[[Component, Format], PackedComponent] = pack_tree,
    *,
    filesystem: Any,
    allow_pickle: bool,
) -> str:
    """Write a checkpoint of ours again, in that format.

    What is in that format already stays as it is, or is copied byte by byte.

    Args:
        src: As for `write_as_msgpack`.
        dst: As for `write_as_msgpack`.
        format: The new format.
        pack: Packs the tree in that format.
        filesystem: As for `write_as_msgpack`.
        allow_pickle: As for `write_as_msgpack`.
    """
    # An array that is written in a tensor's place would be another state.
    source, options = open_store(src, filesystem), ReadOptions(allow_pickle, tensors="torch")
    if _is_all(open_tree(source), format):
        return address_of(src, filesystem) if dst is None else _copy(source, dst, filesystem)
    component = consistently(source, lambda opened: _to_be_converted(opened, options, format))
    place = src if dst is None else dst
    return write_tree(pack(component, format), place, filesystem=filesystem).path


def _is_all(opened: OpenComponent, format: Format) -> bool:
    of_children = (_is_all(child, format) for _, child in opened.children())
    return opened.metadata.format == format and all(of_children)


def _copy(source: Store, path: str | os.PathLike[str], filesystem: Any) -> str:
    write = partial(write_tree, path=path, filesystem=filesystem)
    return consistently(source, lambda opened: write(to_be_copied(opened))).path


def _to_be_converted(opened: OpenComponent, options: ReadOptions, format: Format) -> Component:
    component = read_component(opened, options)
    if opened.metadata.format != format:
        component.extra = {**component.extra, CONVERTED_FROM: opened.metadata.digest}
    return component


def read_component(opened: OpenComponent, options: ReadOptions) -> Component:
    """Return a checkpoint's tree, its files read, so that it can be written again."""
    metadata = opened.metadata
    return Component(
        metadata.cls,
        _read(opened, STATE, options),
        _ctor(opened, options) if CTOR in metadata.files else None,
        {name: read_component(child, options) for name, child in opened.children()},
        metadata.extra,
        metadata.names(opened.metadata_file),
        _read(opened, SELFTEST, options) if SELFTEST in metadata.files else None,
    )


def _read(opened: OpenComponent, role: str, options: ReadOptions) -> Any:
    try:
        return opened.read(role, replace(options, allow_pickle=False))
    except UntrustedPickleError:
        if not options.allow_pickle:
            raise
        return opened.read(role, options)


def _ctor(opened: OpenComponent, options: ReadOptions) -> Any:
    arguments = read_ctor(opened, options)

    def ctor(_: Format) -> dict[str, Any]:
        """Return the constructor's arguments, whatever the format."""
        return {"class": opened.metadata.cls, **arguments.stored()}

    return ctor
