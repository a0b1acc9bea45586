"""One tree by several writers: each writes components of its own, and one commits the whole.

The components lie in the checkpoint's folder before there is any metadata of its root. So until the
commit no reader takes them for a checkpoint; the root's metadata names them with their digests, so
that afterwards none may be missing or another one. An older checkpoint in that folder is damaged as
soon as the first writer replaces a component of it, and replaced by the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tune_ckpt.tree.metadata import ComponentRecord
from tune_ckpt.tree.packing import PackedComponent
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.writing import Saved, write_packed

Records = dict[str, ComponentRecord]


def write_components(store: Store, packed: PackedComponent) -> Records:
    """Write a tree's subcomponents into the tree's folder, and nothing else of it.

    Args:
        store: The checkpoint's folder.
        packed: The tree.

    Returns:
        What the root has to know of them.

    Raises:
        StorageError: The storage refuses.
    """
    written = {}
    for name, child in packed.components.items():
        saved = write_packed(store.child(name), child)
        written[name] = ComponentRecord(name, child.names.metadata, saved.digest)
    return written


def commit(store: Store, packed: PackedComponent, written: Mapping[str, ComponentRecord]) -> Saved:
    """Write a tree's root, of which all subcomponents are there.

    Args:
        store: The checkpoint's folder.
        packed: The tree; its own subcomponents are not looked at.
        written: What `write_components` returned, of all writers.

    Raises:
        StorageError: The storage refuses.
    """
    return write_packed(store, replace(packed, components={}, written=dict(written)))
