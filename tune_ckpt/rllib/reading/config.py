"""The configuration of any checkpoint of RLlib's, as plain data."""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.rllib.reading.finding import Part, find
from tune_ckpt.rllib.reading.generations import MODULE, POLICY
from tune_ckpt.rllib.reading.member_kinds import Module, arguments
from tune_ckpt.rllib.reading.plain import fields, plain


def load_config(checkpoint: Any, *, filesystem: Any = None) -> dict[str, Any]:
    """Return the configuration in a checkpoint, as plain data.

    Nothing in it is imported or called. What was code (a class, a function, a lambda) comes as a
    `tune_ckpt.Reference` with its name, whether or not it can be imported; objects with fields
    come as dicts of them, and the rest that is no plain data as an inert ``Opaque`` record.

    Args:
        checkpoint: A folder or file of any version, of an Algorithm or any part of one: a local
            path, a URI, or a Ray Checkpoint.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the path is to be looked up.

    Returns:
        An Algorithm's, Learner's or EnvRunner's AlgorithmConfig; a Policy's own configuration; what
        an RLModule was made with.

    Raises:
        NotACheckpointError: RLlib wrote nothing like it.
        NotInCheckpointError: It holds no configuration, as those of version 0.1.
        CorruptDataError, CorruptCheckpointError: It is damaged.
    """
    return config_of(find(checkpoint, filesystem))


def config_of(part: Part) -> dict[str, Any]:
    """Return the configuration of one part of a checkpoint.

    Raises:
        NotInCheckpointError: It has none.
    """
    found = fields(stored_config(part))
    if not found:
        reason = f"nothing tells how this {part.type} was configured"
        if part.is_first_generation:
            reason = _OF_THE_OLDEST
        raise NotInCheckpointError(part.path, "configuration", reason)
    config: dict[str, Any] = plain(found, part.path)
    return config


_OF_THE_OLDEST = (
    "version 0.1 stores none; Tune wrote it into params.pkl or params.json, in the trial's folder, "
    "which is the one above. upgrade_checkpoint(old, new) reads it there, or takes it as config=, "
    "and load_config(new) returns it then"
)


def stored_config(part: Part) -> Any:
    """Return the configuration of one part of a checkpoint as it was read, inertly."""
    if part.type == MODULE:
        return Module(part).spec
    state = fields(part.state) or {}
    if part.type == POLICY:
        return (fields(state.get("policy_spec")) or state).get("config")
    args, kwargs = arguments(part)
    return state.get("config") or kwargs.get("config") or next(iter(args), None)


def learner_only(part: Part) -> set[str]:
    """Return the ids of the modules that an Algorithm has on its learners only.

    The modules themselves do not tell it: RLlib stores False for every one.
    """
    told = fields((fields(stored_config(part)) or {}).get("_rl_module_spec")) or {}
    specs = fields(told.get("rl_module_specs") or told.get("module_specs")) or {}
    return {name for name, spec in specs.items() if (fields(spec) or {}).get("learner_only")}
