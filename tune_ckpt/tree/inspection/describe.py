"""What is in a checkpoint: from its metadata and its documents' trees, without the arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_ckpt.errors import NotACheckpointError, StorageError
from tune_ckpt.tree.inspection.contents import open_contents
from tune_ckpt.tree.inspection.description import Description
from tune_ckpt.tree.inspection.found import ArrayFacts
from tune_ckpt.tree.inspection.inspecting import Inspected, inspect
from tune_ckpt.tree.metadata import LINEAGE
from tune_ckpt.tree.not_checkpoints import why_not_rllibs
from tune_ckpt.tree.storage.store import is_plain_file, open_parent, open_store

_VERSIONS = {
    "Python": "python_version",
    "Ray": "ray_version",
    "tune_ckpt": "tune_ckpt_version",
    "layout": "checkpoint_version",
}


def describe(path: Any, component: str | None = None, *, filesystem: Any = None) -> Description:
    """Tell what is in a checkpoint, without reading its arrays.

    >>> print(describe("checkpoint"))  # doctest: +ELLIPSIS
    /.../checkpoint  builtins:dict  msgpack  ...  6 parameters
      digest   4e060d7173b43cfe81c6daf935ba56f9
      saved    ...
      files    metadata.json (...), state.msgpack (115 B)
      weights  ndarray  float64  (2, 3)  48 B

    Of a msgpack checkpoint only metadata and the documents' trees are read, by ranges on remote
    storage. A pickle, and what RLlib wrote itself, is read whole, and inertly: nothing that it
    names is imported, called or constructed.

    Args:
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        component: Only this subcomponent, ``/`` between levels.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Returns:
        The component's files, arrays, metrics, lineage and versions, and the components below it.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: There is no checkpoint.
        ComponentNotFoundError: It has no such component.
        CorruptDataError: What was read is not what was written.
        UntrustedPickleError, PickleReadError: A pickle cannot even be read inertly.
    """
    store = open_store(path, filesystem)
    try:
        found = inspect(store).at(component)
    except StorageError as error:
        if not is_plain_file(path, filesystem):
            raise
        reason = why_not_rllibs([open_parent(path, filesystem)[1]])
        raise NotACheckpointError(store.location, reason) from error
    return _describe(found.store.location, found)


def _describe(name: str, found: Inspected) -> Description:
    facts = found.facts
    metrics = facts.get("metrics")
    return Description(
        name,
        found.cls(),
        found.format,
        found.digest,
        found.sizes,
        tuple(_arrays(found)),
        metrics if isinstance(metrics, dict) else {},
        facts.get("trial"),
        {key: facts[key] for key in LINEAGE if key in facts},
        {word: str(facts[key]) for word, key in _VERSIONS.items() if facts.get(key)},
        str(facts["created"]) if facts.get("created") else None,
        tuple(_describe(name, child) for name, child in found.children()),
    )


def _arrays(found: Inspected) -> Iterator[ArrayFacts]:
    for file in found.states:
        with open_contents(found.store, file.name, file.digest) as contents:
            yield from contents.arrays()
