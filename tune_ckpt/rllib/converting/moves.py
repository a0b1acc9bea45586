"""Where RLlib's classes went: names in old checkpoints, and what Ray 2.60 calls the same things."""

from __future__ import annotations

import re
import sys
from importlib.machinery import PathFinder
from typing import Any

from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.algorithms import (
    ALGORITHMS,
    FORMER_POLICIES,
    default_catalog,
    default_module,
)
from tune_ckpt.rllib.reading.plain import last_name, stored_name

_CALLBACKS = "ray.rllib.callbacks.callbacks:RLlibCallback"
_RLLIB, _NEW = "ray.rllib", "ray.rllib.core.rl_module"
_OF = "ray.rllib.algorithms.{0}.{1}"
_TORCH = "ray.rllib.algorithms.{0}.torch.{1}_torch_rl_module:{2}TorchRLModule"


# One row a class: what it was called, and what it is called.
_CLASSES = {
    # Ray 2.41 named the modules of the algorithms' own.
    _TORCH.format("ppo", "ppo", "PPO"): default_module("PPO"),
    _TORCH.format("appo", "appo", "APPO"): default_module("APPO"),
    _TORCH.format("bc", "bc", "BC"): default_module("BC"),
    _TORCH.format("marwil", "marwil", "MARWIL"): default_module("PPO"),
    _TORCH.format("impala", "impala", "Impala"): default_module("PPO"),
    _TORCH.format("impala", "impala", "IMPALA"): default_module("PPO"),
    _TORCH.format("dqn", "dqn_rainbow", "DQNRainbow"): default_module("DQN"),
    _TORCH.format("sac", "sac", "SAC"): default_module("SAC"),
    _TORCH.format("cql", "cql", "CQL"): default_module("CQL"),
    # Catalogs and learners that were one with another's.
    _OF.format("appo", "appo_catalog:APPOCatalog"): default_catalog("PPO"),
    _OF.format("marwil", "marwil_catalog:MARWILCatalog"): default_catalog("PPO"),
    _OF.format("dqn", "dqn_rainbow_catalog:DQNRainbowCatalog"): default_catalog("DQN"),
    _OF.format("dqn", "torch.dqn_rainbow_torch_learner:DQNRainbowTorchLearner"): _OF.format(
        "dqn", "torch.dqn_torch_learner:DQNTorchLearner"
    ),
    _OF.format("bc", "torch.bc_torch_learner:BCTorchLearner"): _OF.format(
        "marwil", "torch.marwil_torch_learner:MARWILTorchLearner"
    ),
    _OF.format("marwil", "marwil_offline_prelearner:MARWILOfflinePreLearner"): (
        f"{_RLLIB}.offline.offline_prelearner:OfflinePreLearner"
    ),
    f"{_RLLIB}.connectors.common.frame_stacking:_FrameStacking": (
        f"{_RLLIB}.connectors.common.frame_stacking:FrameStacking"
    ),
    # Where Ray 2.60 has partials, and the classes elsewhere.
    f"{_RLLIB}.connectors.env_to_module.flatten_observations:FlattenObservations": (
        f"{_RLLIB}.connectors.common.flatten_observations:FlattenObservations"
    ),
    f"{_RLLIB}.connectors.env_to_module.frame_stacking:FrameStackingEnvToModule": (
        f"{_RLLIB}.connectors.common.frame_stacking:FrameStacking"
    ),
    # Ray 2.31
    f"{_NEW}.marl_module:MultiAgentRLModule": f"{_NEW}.multi_rl_module:MultiRLModule",
    f"{_NEW}.marl_module:MultiAgentRLModuleSpec": f"{_NEW}.multi_rl_module:MultiRLModuleSpec",
    f"{_NEW}.rl_module:SingleAgentRLModuleSpec": f"{_NEW}.rl_module:RLModuleSpec",
    # Ray 2.41
    f"{_RLLIB}.algorithms.callbacks:DefaultCallbacks": _CALLBACKS,
    f"{_RLLIB}.agents.callbacks:DefaultCallbacks": _CALLBACKS,
    # Ray 2.40
    f"{_RLLIB}.algorithms.impala.impala:Impala": f"{_RLLIB}.algorithms.impala.impala:IMPALA",
    f"{_RLLIB}.algorithms.impala.impala:ImpalaConfig": (
        f"{_RLLIB}.algorithms.impala.impala:IMPALAConfig"
    ),
    # Ray 2.7
    f"{_RLLIB}.core.learner.learner:TorchCompileWhatToCompile": (
        f"{_RLLIB}.algorithms.algorithm_config:TorchCompileWhatToCompile"
    ),
}
# Ray 2.0 renamed the trainers, and moved ray.rllib.agents to ray.rllib.algorithms.
_OLD_TRAINER = re.compile(r"ray\.rllib\.(?:agents|algorithms)\.(\w+)\.\w+:(\w+?)Trainer")
_OLD_POLICY = re.compile(r"ray\.rllib\.agents\.(\w+)\.(\w+_policy):(\w+)")
_MODULE_AND_CLASS = re.compile(r"([A-Za-z_][\w.]*)\.([A-Za-z_]\w*)")


def moved(name: str) -> str:
    """Return what Ray 2.60 calls a class of an older Ray: ``module:name`` to ``module:name``."""
    name = _CLASSES.get(name, name)
    trainer = _OLD_TRAINER.fullmatch(name)
    if trainer is not None and trainer[2] in ALGORITHMS:
        return ALGORITHMS[trainer[2]].cls.name
    policy = _OLD_POLICY.fullmatch(name)
    return "ray.rllib.algorithms.{}.{}:{}".format(*policy.groups()) if policy else name


def reference(value: object) -> Reference | None:
    """Return a class by a `Reference`, or by the dotted path that RLlib's msgpack has, moved."""
    if isinstance(value, Reference):
        return Reference(moved(value.name))
    found = _MODULE_AND_CLASS.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else Reference(moved(f"{found[1]}:{found[2]}"))


def class_name(stored: Any) -> str:
    """Return what Ray calls a class today, without where it is; nothing for None."""
    name = last_name(stored_name(stored)).removesuffix("_traced")
    return FORMER_POLICIES.get(name, name)


def is_local(reference: Reference) -> bool:
    """Say whether a class was made inside of a function, where nobody can import it."""
    return "<" in reference.name


def can_be_found(reference: Reference) -> bool:
    """Say whether the package of a name is here, or is Ray; nothing is imported for it."""
    package = reference.name.partition(":")[0].partition(".")[0]
    if package in ("ray", "__main__", "__mp_main__"):
        return package == "ray"
    return package in sys.stdlib_module_names or PathFinder.find_spec(package) is not None
