"""What a checkpoint of RLlib's is: RLlib's own question and answer, without RLlib."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.rllib.reading.config import config_of
from tune_ckpt.rllib.reading.counters import counters_of
from tune_ckpt.rllib.reading.finding import Part, find
from tune_ckpt.rllib.reading.generations import ALGORITHM, MODULE, MODULES, POLICIES, POLICY
from tune_ckpt.rllib.reading.member_kinds import Member
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.plain import fields, last_name, stored_name, with_colon
from tune_ckpt.rllib.reading.spaces import spaces_of
from tune_ckpt.rllib.reading.weights import weights_of

_MODULES_BELOW = ("learner_group", "learner", "rl_module", "module_state")
_LIBRARY_PATH = re.compile(rb"/lib/python(3\.\d+)/")


def get_checkpoint_info(
    checkpoint: Any, filesystem: Any = None, *, details: bool = True
) -> dict[str, Any]:
    """Return what is known of a checkpoint of RLlib's, of any version, without RLlib.

    This is ``ray.rllib.utils.checkpoints.get_checkpoint_info`` with the same keys, for more: any
    part of a checkpoint, and any folder or file of it. ``checkpoint_version`` is text here that
    compares with numbers as RLlib's ``Version`` does. Nothing in the checkpoint is imported.

    Args:
        checkpoint: A folder or file: a local path, a URI, or a Ray Checkpoint.
        filesystem: A ``pyarrow.fs.FileSystem`` in which it is to be looked up.
        details: Also tell what only the files themselves tell, which reads them. Without, folders
            are listed and metadata are read.

    Returns:
        A dict with RLlib's keys:

        - ``type``: ``Algorithm``, ``Policy``, ``RLModule``, ``MultiRLModule``, ``Learner``,
          ``LearnerGroup``, ``EnvRunner``, ...
        - ``format``: ``cloudpickle`` or ``msgpack``.
        - ``checkpoint_version``: ``0.1``, ``1.0``, ``1.1``, ``1.2``, ``2.0`` or ``2.1``.
        - ``checkpoint_dir``, ``state_file``: the paths; the latter None where there is none.
        - ``policy_ids``: the set of an Algorithm's policies, where it has a folder of them.
        - ``module_ids``: the set of RLModules, where there is a folder of them.
        - whatever the metadata say besides: ``ray_version``, ``ray_commit``, ...

        and with ``details`` those that are known of: ``python_version``, ``algorithm``, ``class``,
        ``env``, ``framework``, ``counters``, ``spaces`` (by policy or module) and ``parameters``
        (their numbers, likewise).

    Raises:
        NotACheckpointError: RLlib wrote nothing like it.
        CorruptDataError, CorruptCheckpointError: It is damaged.
        StorageError: It cannot be read.
    """
    part = find(checkpoint, filesystem)
    info = {
        "type": part.type,
        "format": part.format,
        "checkpoint_version": part.version,
        "checkpoint_dir": part.path,
        "state_file": None if part.state_file is None else part.state_path,
        "policy_ids": _policy_ids(part),
        "module_ids": _module_ids(part),
    }
    told = {key: value for key, value in part.metadata.items() if key not in info}
    return {**info, **told, **(_details(part) if details else {})}


def _policy_ids(part: Part) -> set[str] | None:
    policies = part if part.type == POLICIES else part.child("policies")
    if policies is not None:
        return set(policies.children(POLICY))
    told = part.metadata.get("policy_ids")
    return set(map(str, told)) if isinstance(told, list) else None


def _module_ids(part: Part) -> set[str] | None:
    if part.type == MODULES:
        return set(part.children(MODULE))
    below = (child for name in _MODULES_BELOW if (child := part.child(name)) is not None)
    return next((ids for child in below if (ids := _module_ids(child)) is not None), None)


# ------------------------------------------------------------------ what only the files tell


def _details(part: Part) -> dict[str, Any]:
    config = _if_told(config_of, part) or {}
    cls = _class(part)
    told = {
        "ray_version": part.metadata.get("ray_version", part.tune_metadata.get("ray_version")),
        "python_version": _python_version(part),
        "class": cls,
        "algorithm": last_name(cls) if part.type == ALGORITHM else None,
        "env": stored_name(config.get("env")),
        "framework": config.get("framework_str", config.get("framework")),
        "counters": counters_of(part),
        "spaces": _of_each(part, spaces_of),
        "parameters": _of_each(part, _parameters),
    }
    return {key: value for key, value in told.items() if value}


def _of_each(part: Part, take: Callable[[Member], Any]) -> Any:
    taken = {name: _if_told(take, member) for name, member in members(part).items()}
    if part.type in (POLICY, MODULE):
        return taken[part.name]
    return {name: value for name, value in taken.items() if value is not None}


def _if_told(take: Callable[[Any], Any], of: Any) -> Any:
    try:
        return take(of)
    except NotInCheckpointError:
        return None


def _parameters(member: Member) -> int:
    return sum(array.size for array in weights_of(member).values())


def _python_version(part: Part) -> str | None:
    # Nothing tells it but the paths of libraries that are in pickled code.
    files = [(part.home, part.state_file), (part.folder.store, part.folder.ctor)]
    texts = (store.read_bytes(name) for store, name in files if name is not None)
    found = next((found for text in texts if (found := _LIBRARY_PATH.search(text))), None)
    return None if found is None else found[1].decode()


def _class(part: Part) -> str:
    if part.folder.ctor is not None:
        return part.folder.cls
    state = fields(part.state) or {}
    spec = fields(state.get("policy_spec")) or {}
    return with_colon(stored_name(state.get("algorithm_class") or spec.get("policy_class")))
