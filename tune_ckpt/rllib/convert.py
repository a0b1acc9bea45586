"""A checkpoint of RLlib's to msgpack, on its files alone: no Algorithm, environment or worker.

What comes out is what RLlib itself reads. ``class_and_ctor_args.pkl``, in the trees of Ray 2.31 and
newer, is copied: RLlib reads no other form of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import (
    Fault,
    InvalidArgumentError,
    NotACheckpointError,
    PickleReadError,
    UnsupportedStateError,
)
from tune_ckpt.formats import rllib_dialect
from tune_ckpt.rllib.finding import ALGORITHM, POLICY, Part, find, open_part
from tune_ckpt.rllib.folders import Folder, below, open_empty, write
from tune_ckpt.rllib.plain import fields
from tune_ckpt.rllib.portable import NOT_SERIALIZABLE, Carrying
from tune_ckpt.tree.layout import CHECKPOINT_VERSION, KNOWN_METADATA, RLLIB_FIELDS, STATE

_OLD_VERSION = "1.1"  # what RLlib writes, and reads, of the old API stack


class Converted(str):
    """Where a converted checkpoint is; it is the path, as RLlib's own functions return it.

    Attributes:
        not_carried: What msgpack could not hold, by its path; RLlib's mark stands in its place.
    """

    not_carried: tuple[Fault, ...] = ()


def convert_to_msgpack_checkpoint(
    checkpoint: Any, msgpack_checkpoint_dir: Any, *, filesystem: Any = None
) -> Converted:
    """Write a checkpoint of RLlib's again, as msgpack that RLlib reads.

    This is RLlib's function of that name, on the files alone: nothing that they name is imported,
    and no Algorithm is built. It takes any part of a checkpoint of versions 1.0 to 2.1; the version
    of a tree becomes 2.1, others become 1.1.

    Args:
        checkpoint: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        msgpack_checkpoint_dir: The new checkpoint's folder, which must be empty or not exist.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both are to be looked up.

    Returns:
        The new folder's path, which also tells what was not carried, such as functions.

    Raises:
        NotACheckpointError: RLlib wrote nothing like it.
        InvalidArgumentError: It is of a version that is not converted.
        UnsupportedStateError: It holds values that msgpack cannot hold.
        CorruptDataError, CorruptCheckpointError: It is damaged.
        StorageError: The new folder is not empty, or cannot be written.
    """
    part = find(checkpoint, filesystem)
    target = open_empty(msgpack_checkpoint_dir, filesystem, "convert into")
    if part.is_first_generation:
        raise InvalidArgumentError("checkpoint", part.path, ("one of version 1.0 or newer",))
    conversion = _Conversion()
    folder = conversion.folder(part, "")
    if conversion.refused:
        raise UnsupportedStateError(tuple(conversion.refused))
    write(target, folder)
    converted = Converted(target.location)
    converted.not_carried = tuple(conversion.lost)
    return converted


def convert_to_msgpack_policy_checkpoint(
    policy_checkpoint: Any, msgpack_checkpoint_dir: Any, *, filesystem: Any = None
) -> Converted:
    """Write a Policy's checkpoint again, as msgpack that RLlib reads.

    See `convert_to_msgpack_checkpoint`, of which this is the part for one policy.

    Raises:
        NotACheckpointError: It is no Policy's checkpoint.
    """
    part = find(policy_checkpoint, filesystem)
    if part.type != POLICY:
        raise NotACheckpointError(part.path, f"it is one of a {part.type}, and no Policy")
    return convert_to_msgpack_checkpoint(
        policy_checkpoint, msgpack_checkpoint_dir, filesystem=filesystem
    )


# ------------------------------------------------------------------------------------ reading


class _Conversion:
    """Reads a checkpoint's folders, and gathers what could not be carried or written."""

    def __init__(self) -> None:
        self.lost: list[Fault] = []
        self.refused: list[Fault] = []

    def folder(self, part: Part, path: str) -> Folder:
        """Return what shall be written instead of a folder."""
        folder = Folder()
        for entry in part.folder.entries:
            if not entry.is_dir and entry.name not in (part.state_file, *KNOWN_METADATA):
                folder.files[entry.name] = part.folder.store.read_bytes(entry.name)
        if part.state_file is not None and part.home is part.folder.store:
            self._add_state(folder, part, path)
        for name, store in part.folder.children():
            folder.children[name] = self.folder(open_part(store), f"{path}{name}/")
        return folder

    def _add_state(self, folder: Folder, part: Part, path: str) -> None:
        is_tree = part.folder.ctor is not None
        stem = str(part.state_file).rpartition(".")[0]
        name = stem + (".msgpack" if is_tree else ".msgpck")
        carrying = Carrying(part.state_path, text_keys=not is_tree)
        carry = Carrying.state if is_tree else _OLD.get(part.type, Carrying.state)
        try:
            folder.files[name] = rllib_dialect.pack(carry(carrying, part.state))
        except UnsupportedStateError as error:
            self.refused += below(path, error.faults)
        except RecursionError as error:
            reason = "it is nested too deeply, or contains itself"
            raise PickleReadError(part.state_path, reason) from error
        self.lost += below(path, carrying.lost)
        metadata = {**part.metadata, **(_tree_facts(stem) if is_tree else _old_facts(part, name))}
        folder.metadata[part.metadata_file] = json.dumps(metadata).encode()


def _tree_facts(stem: str) -> dict[str, Any]:
    return {RLLIB_FIELDS[STATE]: stem, "checkpoint_version": CHECKPOINT_VERSION}


def _old_facts(part: Part, name: str) -> dict[str, Any]:
    facts = {"type": part.type, "checkpoint_version": _OLD_VERSION, "format": "msgpack"}
    return {**facts, RLLIB_FIELDS[STATE]: name}


# --------------------------------------------------------------------------- the old API stack


_REPLACED = {"policy_spec", "worker", "config", "checkpoint_version"}


def _rest(state: Any, carrying: Carrying) -> dict[str, Any]:
    kept = {key: item for key, item in (fields(state) or {}).items() if key not in _REPLACED}
    made: dict[str, Any] = carrying.state(kept)
    return {**made, "checkpoint_version": _OLD_VERSION}


def _old_policy(carrying: Carrying, state: Any) -> dict[str, Any]:
    spec = fields((fields(state) or {}).get("policy_spec")) or {}
    told = carrying.state({**spec, "config": None}, "policy_spec")
    told["config"] = _old_config(spec.get("config"), carrying, "policy_spec", "config")
    return {**_rest(state, carrying), "policy_spec": told}


def _old_algorithm(carrying: Carrying, state: Any) -> dict[str, Any]:
    told = fields(state) or {}
    worker = dict(fields(told.get("worker")) or {})
    for name in fields(worker.get("filters")) or {}:
        carrying.mark(("worker", "filters", name), "the filter's state")
    if worker:  # what RLlib writes there in any case
        functions = dict.fromkeys(("policy_mapping_fn", "is_policy_to_train"), NOT_SERIALIZABLE)
        worker |= {"filters": {}, **functions}
    config = _old_config(told.get("config"), carrying, "config")
    made = {**_rest(state, carrying), "config": config, "worker": carrying.state(worker, "worker")}
    return {**made, "counters": {**_NO_COUNTS, **(made.get("counters") or {})}}


# RLlib counts in a dict that has zero for what is missing; msgpack's dicts have not.
_NO_COUNTS = {
    f"num_{unit}_steps_{what}": 0 for unit in ("env", "agent") for what in ("sampled", "trained")
}


def _old_config(config: Any, carrying: Carrying, *steps: str) -> dict[str, Any]:
    told = dict(fields(config) or {})
    told.pop("stats_cls_lookup", None)  # classes of RLlib's own, which it finds again
    if "callbacks_class" in told:
        told["callbacks"] = told.pop("callbacks_class")
    made: dict[str, Any] = carrying.state(told, *steps)
    return made


_OLD: dict[str, Callable[[Carrying, Any], Any]] = {POLICY: _old_policy, ALGORITHM: _old_algorithm}
