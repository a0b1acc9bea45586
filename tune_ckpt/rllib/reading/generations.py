"""What RLlib's generations call things: of which type a part of a checkpoint is, and which version.

This is the one place that knows it of the older ones; `tune_ckpt.tree.layout` knows the newest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.rllib.reading.versions import CheckpointVersion
from tune_ckpt.tree.layout import STATE

if TYPE_CHECKING:
    from tune_ckpt.rllib.reading.finding import Part

ALGORITHM, POLICY, MODULE = "Algorithm", "Policy", "RLModule"
POLICIES, MODULES = "PolicyMap", "MultiRLModule"  # folders of several
POLICY_SPEC = ("policy_class", "observation_space", "action_space", "config")  # in this order

RAY = "2.60"  # today's, for which checkpoints are written again
OLD_VERSION = "1.1"  # of the old API stack: what it writes and reads
OLD_METADATA = "rllib_checkpoint.json"

# State files, by their names' stems, in the order in which they are looked for.
STATE_OF_TYPE = {ALGORITHM: "algorithm_state", POLICY: "policy_state", MODULE: "module_state"}
_TYPE_OF_STATE = {stem: kind for kind, stem in STATE_OF_TYPE.items()}
STATES = (*_TYPE_OF_STATE, STATE)
# In 1.2, the state of a module lies one level down; the last is of Ray 2.5.
MODULE_STATE_DIRS = ("module_state_dir", "module_state_path")
_MODULE_METADATA, _LEARNER_METADATA = "rl_module_metadata.json", "learner_state.json"

# What tells a component's type: how its class's name ends; else what is below; else its own name.
_TYPE_OF_CLASS = {
    **{name: name for name in ("EnvRunner", "LearnerGroup", "Learner")},
    **{"MultiRLModule": MODULES, "MultiAgentRLModule": MODULES, "RLModule": MODULE},
}
_TYPE_OF_CHILD = {
    "learner_group": ALGORITHM,
    "env_to_module_connector": "EnvRunner",
    "learner": "LearnerGroup",
    "rl_module": "Learner",
}
_TYPE_OF_FOLDER = {"env_runner": "EnvRunner", "eval_env_runner": "EnvRunner"}

# ... and a file's of which neither name nor class tells: keys that no other type's state has.
_TYPE_OF_KEYS = {
    "algorithm_class": ALGORITHM,
    "worker": ALGORITHM,
    "weights": POLICY,
    "param_groups": "Optimizer",
    "optimizer": "Learner",
}


def stem(name: str) -> str:
    """Return a file's name without suffixes, whatever folders are named before it."""
    return re.split(r"[/\\]", name)[-1].partition(".")[0]


# ------------------------------------------------------------------------------------ types


def type_of(part: Part) -> str:
    """Return RLlib's word for what a part is; empty where it is nothing of RLlib's."""
    if part.is_first_generation:
        return ALGORITHM
    named = part.state_file or part.folder.named_state or ""
    found = _TYPE_OF_STATE.get(stem(named))
    if found == MODULE:
        return MODULES if part.folders - {*MODULE_STATE_DIRS} else MODULE
    return found or next(_types(part), "")


def _types(part: Part) -> Iterator[str]:
    if _LEARNER_METADATA in part.files:
        yield "Learner"
    if _MODULE_METADATA in part.files:
        yield MODULES
    if part.folder.ctor is not None:
        yield _by_class(part)
    if part.state_file is not None:
        yield _by_content(part)
    if part.name == "policies" and part.folders:
        yield POLICIES


def _by_class(part: Part) -> str:
    module, _, name = part.folder.cls.partition(":")
    if module.startswith("ray.rllib.connectors."):
        return "ConnectorPipelineV2" if name.endswith("Pipeline") else "ConnectorV2"
    by_class = (kind for end, kind in _TYPE_OF_CLASS.items() if name.endswith(end))
    by_child = (kind for child, kind in _TYPE_OF_CHILD.items() if child in part.folders)
    by_folder = _TYPE_OF_FOLDER.get(part.name, "Checkpointable")
    return next(by_class, None) or next(by_child, None) or by_folder


def _by_content(part: Part) -> str:
    keys = part.state if isinstance(part.state, dict) else {}
    by_key = (kind for key, kind in _TYPE_OF_KEYS.items() if key in keys)
    return next(by_key, "")


# ------------------------------------------------------------------------------------ versions


def version_of(part: Part) -> CheckpointVersion:
    """Return the version of a part's layout, told by its metadata where there are any.

    Raises:
        CorruptDataError: They tell what is no version.
    """
    if part.is_first_generation:
        return CheckpointVersion("0.1")
    told = str(part.metadata.get("checkpoint_version") or _by_layout(part))
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4})*", told):
        raise CorruptDataError(part.path, f"its metadata tell the version {told[:50]!r}")
    return CheckpointVersion(told)


def _by_layout(part: Part) -> str:
    if part.folder.ctor is not None:
        return "2.1"
    learner = {_MODULE_METADATA, _LEARNER_METADATA, *MODULE_STATE_DIRS, "learner"}
    if learner & (part.files | part.folders | {part.name}):
        return "1.2"
    if stem(part.state_file or "") in _TYPE_OF_STATE or part.type == POLICIES:
        return _told_by_state(part) or OLD_VERSION
    return "0.1"  # as RLlib takes any other file


def _told_by_state(part: Part) -> str | None:
    told = part.state.get("checkpoint_version") if isinstance(part.state, dict) else None
    if isinstance(told, Opaque) and isinstance(told.state, tuple):
        told = ".".join(map(str, told.state[1]))  # packaging's Version: epoch, release, ...
    return told if isinstance(told, str) else None
