"""A checkpoint of RLlib's to msgpack, on its files alone: no Algorithm, environment or worker.

What comes out is what RLlib itself reads. ``class_and_ctor_args.pkl``, in the trees of Ray 2.31 and
newer, is copied: RLlib reads no other form of it.
"""

from __future__ import annotations

import json
from tempfile import TemporaryDirectory
from typing import Any

from tune_ckpt.errors import (
    Fault,
    NotACheckpointError,
    NotInCheckpointError,
    PickleReadError,
    UnsupportedStateError,
)
from tune_ckpt.formats import rllib_dialect
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.folders import Folder, below, open_empty, write
from tune_ckpt.rllib.converting.given import Given, given
from tune_ckpt.rllib.converting.moves import can_be_found, class_name, is_local
from tune_ckpt.rllib.converting.old_stack_msgpack import STATES
from tune_ckpt.rllib.converting.portable import Carrying, is_pickle_of_code
from tune_ckpt.rllib.converting.upgrade import (
    check_convertible,
    expecting_rllibs_own,
    is_of_new_stack,
    upgraded_folder,
)
from tune_ckpt.rllib.reading.config import config_of
from tune_ckpt.rllib.reading.finding import Part, find, open_part
from tune_ckpt.rllib.reading.generations import ALGORITHM, OLD_VERSION, POLICY, RAY
from tune_ckpt.rllib.reading.versions import CheckpointVersion as Version
from tune_ckpt.tree.apart import check_outside
from tune_ckpt.tree.layout import CHECKPOINT_VERSION, KNOWN_METADATA, RLLIB_FIELDS, STATE
from tune_ckpt.tree.storage.store import address_of, open_store


class Converted(str):
    """Where a converted checkpoint is; it is the path, as RLlib's own functions return it.

    Attributes:
        not_carried: What msgpack could not hold, by its path; RLlib's mark stands in its place.
    """

    not_carried: tuple[Fault, ...] = ()


def convert_to_msgpack_checkpoint(
    checkpoint: Any, msgpack_checkpoint_dir: Any, *, config: Any = None, filesystem: Any = None
) -> Converted:
    """Write a checkpoint of RLlib's again, as msgpack that RLlib reads.

    This is RLlib's function of that name, on the files alone: nothing that they name is imported,
    and no Algorithm is built. It takes any part of a checkpoint of any version. One that an older
    Ray wrote is upgraded first (see `upgrade_checkpoint`), so that Ray 2.60 restores it; the
    version of the new API stack's becomes 2.1, that of the old one's 1.1.

    Args:
        checkpoint: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        msgpack_checkpoint_dir: The new checkpoint's folder, which must be empty or not exist.
        config: Settings in the place of stored ones: a dict, or an AlgorithmConfig for all.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both are to be looked up.

    Returns:
        The new folder's path, which also tells what was not carried, such as functions.

    Raises:
        NotACheckpointError: RLlib wrote nothing like it.
        NotInCheckpointError: It is an Algorithm's, and has neither policies nor modules.
        InvalidArgumentError: The configuration is none, or another algorithm's; or the new folder
            is in the checkpoint.
        UnsupportedStateError: It holds values that msgpack cannot hold.
        CorruptDataError, CorruptCheckpointError: It is damaged.
        StorageError: The new folder is not empty, or cannot be written.
    """
    part = find(checkpoint, filesystem)
    check_convertible(part)
    target = open_empty(msgpack_checkpoint_dir, filesystem, "convert into")
    check_outside("msgpack_checkpoint_dir", target, part.folder.store)
    with TemporaryDirectory() as folder:
        today, notes = _of_today(part, folder, checkpoint, config, filesystem)
        conversion = _Conversion()
        made = conversion.folder(today, "")
    if conversion.refused:
        raise UnsupportedStateError(tuple(conversion.refused))
    write(target, made)
    converted = Converted(address_of(msgpack_checkpoint_dir, filesystem))
    converted.not_carried = (*notes, *conversion.lost)
    return converted


def _of_today(
    part: Part, folder: str, checkpoint: Any, config: Any, filesystem: Any
) -> tuple[Part, tuple[Fault, ...]]:
    """Return a part of a checkpoint, upgraded where an older Ray wrote it, and what that lost."""
    if config is None and not _is_older(part):
        return part, _of_code(part)
    told = given(config)
    env = _named_env(part, told)
    try:
        made, notes = upgraded_folder(part, checkpoint, told.with_env(env), _ENV, filesystem)
    except UnsupportedStateError as error:  # an algorithm that there is no more
        if config is not None:
            raise
        return part, error.faults
    if env is not None:
        notes += (Fault("config/env", f"only its name was carried, {env}"),)
    write(open_store(folder), made)
    return find(folder), notes


_ENV = 'pass config={"env": ...}'


def _is_older(part: Part) -> bool:
    told = str(part.metadata.get("ray_version", ""))
    is_known = part.type in (ALGORITHM, POLICY) or part.folder.ctor is not None
    return part.is_first_generation or (is_known and told != "" and Version(told) < RAY)


def _of_code(part: Part) -> tuple[Fault, ...]:
    """Return a note on what is copied where that is a pickle with code in it."""
    file = part.folder.ctor
    if file is None or not is_pickle_of_code(part.folder.store.read_bytes(file), file):
        return ()
    return (Fault(file, _CODE),)


_CODE = (
    "it is copied with code in it, on which other versions of Python fail or crash; with config= "
    "it is written anew, without"
)


def _named_env(part: Part, told: Given) -> str | None:
    """Return how to call an environment whose class msgpack cannot hold: what may be registered."""
    if part.type != ALGORITHM or is_of_new_stack(part):
        return None  # the new API stack has it in a pickle
    env = _env(part, told)
    if isinstance(env, Reference) and can_be_found(env) and not is_local(env):
        return env.name.replace(":", ".") if not _is_of_rllib(env) else class_name(env)
    is_code = isinstance(env, Reference) or "<locals>" in str(env)
    return class_name(env) if is_code else None


def _env(part: Part, told: Given) -> Any:
    env = told.keys.get("env")
    if isinstance(env, type):
        return Reference(f"{env.__module__}:{env.__qualname__}")
    if env is not None or told.is_whole:
        return env
    try:
        return config_of(part).get("env")
    except NotInCheckpointError:
        return None


def _is_of_rllib(env: Reference) -> bool:
    # make_multi_agent() makes classes that say so, and nobody can import them.
    return env.name.startswith("ray.rllib.env.")


def convert_to_msgpack_policy_checkpoint(
    policy_checkpoint: Any,
    msgpack_checkpoint_dir: Any,
    *,
    config: Any = None,
    filesystem: Any = None,
) -> Converted:
    """Write a Policy's checkpoint again, as msgpack that RLlib reads.

    See `convert_to_msgpack_checkpoint`, of which this is the part for one policy.

    Args:
        policy_checkpoint: The Policy's own checkpoint: a local path, a URI, or a Ray Checkpoint.
        msgpack_checkpoint_dir: The new checkpoint's folder, which must be empty or not exist.
        config: Settings in the place of stored ones: a dict, or an AlgorithmConfig for all.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both are to be looked up.

    Raises:
        NotACheckpointError: It is no Policy's checkpoint.
    """
    part = find(policy_checkpoint, filesystem)
    if part.type != POLICY:
        raise NotACheckpointError(part.path, f"its type is {part.type}, and no Policy")
    return convert_to_msgpack_checkpoint(
        policy_checkpoint, msgpack_checkpoint_dir, config=config, filesystem=filesystem
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
            with expecting_rllibs_own(part.state_path):
                self._add_state(folder, part, path)
        for name, store in part.folder.children():
            folder.children[name] = self.folder(open_part(store), f"{path}{name}/")
        return folder

    def _add_state(self, folder: Folder, part: Part, path: str) -> None:
        is_tree = part.folder.ctor is not None
        stem = str(part.state_file).rpartition(".")[0]
        name = stem + (".msgpack" if is_tree else ".msgpck")
        carrying = Carrying(part.state_path, text_keys=not is_tree)
        carry = Carrying.state if is_tree else STATES.get(part.type, Carrying.state)
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
    facts = {"type": part.type, "checkpoint_version": OLD_VERSION, "format": "msgpack"}
    return {**facts, RLLIB_FIELDS[STATE]: name}
