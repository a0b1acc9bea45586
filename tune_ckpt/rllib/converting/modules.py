"""RLModules of the new API stack: what they are made with, as Ray 2.60 wants it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tune_ckpt.errors import Fault, NotInCheckpointError, UnsupportedStateError
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.algorithms import ALGORITHM_OF_POLICY, Algorithm
from tune_ckpt.rllib.converting.config_keys import is_deprecated
from tune_ckpt.rllib.converting.moves import class_name, moved, reference
from tune_ckpt.rllib.converting.pickled_spaces import space_object
from tune_ckpt.rllib.converting.pickling import Call
from tune_ckpt.rllib.converting.restating import LOST, Restating
from tune_ckpt.rllib.converting.weight_names import newest_names
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import POLICY, RAY
from tune_ckpt.rllib.reading.member_kinds import Module, Policy
from tune_ckpt.rllib.reading.plain import fields, with_colon
from tune_ckpt.rllib.reading.spaces import ACTIONS, OBSERVATIONS, spaces_of
from tune_ckpt.rllib.reading.versions import CheckpointVersion as Version
from tune_ckpt.rllib.reading.weights import Weights, weights_of

# SAC's and CQL's Q networks had another encoder.
_FORMER_SAC = Reference("tune_ckpt.rllib.former:FormerSACCatalog")
_NEEDS_US = (
    f"Ray {RAY} builds another Q network; tune_ckpt builds this one, and must be installed where "
    "the checkpoint is loaded"
)

# Names in a model's configuration that Ray 2.38 changed.
_RENAMED_IN = "2.38"
_OLD_PARTS = {"fcnet": "fcnet", "post_fcnet": "head_fcnet", "conv": "conv", "lstm": "lstm"}
_OLD_MODEL_KEYS = {
    **{
        f"{old}_{what}_initializer{end}": f"{new}_{now}_initializer{to}"
        for old, new in _OLD_PARTS.items()
        for what, now in (("weights", "kernel"), ("kernel", "kernel"), ("bias", "bias"))
        for end, to in (("", ""), ("_config", "_kwargs"))
    },
    "post_fcnet_hiddens": "head_fcnet_hiddens",
    "post_fcnet_activation": "head_fcnet_activation",
}


def model_config(stored: Any) -> dict[str, Any]:
    """Return the configuration of a model of before Ray 2.38 by the keys that it has since."""
    told = {k: item for k, item in (fields(stored) or {}).items() if not is_deprecated(item)}
    told.pop("_inference_only", None)
    return {_OLD_MODEL_KEYS.get(key, key): item for key, item in told.items()}


def newest_model_config(module: Module) -> dict[str, Any]:
    """Return the configuration of a module's model by the keys of today."""
    version = str(module.part.metadata.get("ray_version", ""))
    if version and Version(version) >= _RENAMED_IN:
        return fields(module.model_config) or {}  # old names said nothing any more
    return model_config(module.model_config)


@dataclass(frozen=True)
class ModuleInPolicy(Module):
    """The RLModule whose weights a policy of Ray 2.5 to 2.30 has; its part is the policy's."""

    @cached_property
    def _policy(self) -> Policy:
        return Policy(self.part.state_path, lambda: self.part.state, part=self.part)

    @property
    def weights(self) -> Any:
        """The policy's weights."""
        return self._policy.weights

    @property
    def algorithm(self) -> Algorithm | None:
        """The algorithm whose default module it is; None where Ray 2.60 has it no more."""
        return ALGORITHM_OF_POLICY.get(class_name(self._policy.cls))

    @cached_property
    def spec(self) -> dict[Any, Any]:
        """The algorithm's default module, with the policy's spaces and model.

        Raises:
            NotInCheckpointError: Ray 2.60 has no module for such policies.
        """
        told, algorithm = self._policy.spec, self.algorithm
        if algorithm is None:
            name = class_name(self._policy.cls) or "policy without a name"
            reason = f"there is none for a {name} any more; see load_weights"
            raise NotInCheckpointError(self.path, "RLModule", reason)
        return {
            **{space: told.get(space) for space in (OBSERVATIONS, ACTIONS)},
            "module_class": algorithm.module,
            "catalog_class": algorithm.catalog,
            "model_config": model_config((fields(told.get("config")) or {}).get("model")),
        }


def has_module(part: Part) -> bool:
    """Say whether a part of a checkpoint is a policy that has a module's weights."""
    return part.type == POLICY and Policy(part.state_path, lambda: part.state, part=part).has_module


def module_arguments(module: Module, restating: Restating) -> dict[str, Any]:
    """Return what an RLModule is made with, but for its class.

    Args:
        module: The module.
        restating: Takes the notes.
    """
    spec, spaces = module.spec, spaces_of(module)
    catalog = reference(spec.get("catalog_class_path")) or spec.get("catalog_class")
    if has_former_encoder(module):
        catalog = _FORMER_SAC
        restating.note(("catalog_class",), _NEEDS_US)
    found = {
        **{name: space_object(space) for name, space in spaces.items()},
        "inference_only": bool(spec.get("inference_only")),
        "learner_only": bool(spec.get("learner_only")),
        "model_config": restating.value(newest_model_config(module), "model_config"),
        "catalog_class": restating.value(catalog, "catalog_class"),
    }
    return {key: None if item is LOST else item for key, item in found.items()}


def has_former_encoder(module: Module) -> bool:
    """Say whether a module has the Q networks that SAC and CQL had in older Ray."""
    is_continuous = (spaces_of(module)[ACTIONS] or {}).get("space") == "box"
    weights = module.weights if isinstance(module.weights, dict) else {}
    return is_continuous and any(str(name).startswith("qf_encoder.net.") for name in weights)


def module_class(module: Module) -> Reference | None:
    """Return an RLModule's class, moved; None where nothing names it."""
    name = with_colon(module.cls)
    return Reference(moved(name)) if ":" in name else None


def newest_weights(module: Module) -> Weights:
    """Return an RLModule's weights as arrays, by the names of today."""
    weights: Weights = newest_names(weights_of(module), module.cls)
    return weights


def upgraded_weights(module: Module) -> Any:
    """Return an RLModule's weights as they are stored, by the names of today.

    Raises:
        UnsupportedStateError: They are those of a network that Ray 2.60 does not build.
    """
    weights = module.weights if isinstance(module.weights, dict) else {}
    gone = [str(name) for name in weights if _GONE.match(str(name))]
    if gone and with_colon(module.cls).startswith("ray."):
        raise UnsupportedStateError(tuple(Fault(name, _NO_PLACE) for name in gone), advice="")
    return newest_names(module.weights, module.cls)


# Behind the convolutions of an encoder, and behind its LSTM.
_GONE = re.compile(r"encoder\.(\w+_encoder\.)?(net\.2|linear)\.")
_NO_PLACE = f"Ray 2.5's encoders end in this layer, Ray {RAY}'s do not; load_weights reads it"


def module_spec(cls: Reference | None, arguments: dict[str, Any]) -> Call:
    """Return the call that makes an RLModuleSpec."""
    spec = Reference("ray.rllib.core.rl_module.rl_module:RLModuleSpec")
    return Call(spec, (), {"module_class": cls, **arguments})


def modules_spec(specs: dict[str, Call]) -> Call:
    """Return the call that makes a MultiRLModuleSpec."""
    spec = Reference("ray.rllib.core.rl_module.multi_rl_module:MultiRLModuleSpec")
    return Call(spec, (), {"rl_module_specs": specs})
