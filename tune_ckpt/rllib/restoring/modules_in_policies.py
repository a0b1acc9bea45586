"""RLModules in policies: what Ray 2.5 to 2.30 exported as a Policy is a module inside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.rllib.converting.algorithms import ALGORITHM_OF_POLICY
from tune_ckpt.rllib.converting.modules import model_config
from tune_ckpt.rllib.converting.moves import class_name
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import POLICY
from tune_ckpt.rllib.reading.member_kinds import Module, Policy
from tune_ckpt.rllib.reading.plain import fields
from tune_ckpt.rllib.reading.spaces import ACTIONS, OBSERVATIONS
from tune_ckpt.rllib.reading.weights import is_of_module


@dataclass(frozen=True)
class ModuleInPolicy(Module):
    """The RLModule whose weights a policy has; its part is the policy's."""

    @cached_property
    def _policy(self) -> Policy:
        return Policy(self.part.state_path, lambda: self.part.state, part=self.part)

    @property
    def weights(self) -> Any:
        """The policy's weights."""
        return self._policy.weights

    @cached_property
    def spec(self) -> dict[Any, Any]:
        """The algorithm's default module, with the policy's spaces and model.

        Raises:
            NotInCheckpointError: Ray 2.60 has no module for such policies.
        """
        told = self._policy.spec
        name = class_name(told.get("policy_class"))
        algorithm = ALGORITHM_OF_POLICY.get(name)
        if algorithm is None:
            reason = f"there is none for a {name or 'policy without a name'} any more"
            raise NotInCheckpointError(self.path, "RLModule", f"{reason}; see load_weights")
        model = (fields(told.get("config")) or {}).get("model")
        return {
            **{space: told.get(space) for space in (OBSERVATIONS, ACTIONS)},
            "module_class": algorithm.module,
            "catalog_class": algorithm.catalog,
            "model_config": model_config(model),
        }


def has_module(part: Part) -> bool:
    """Say whether a part of a checkpoint is a policy that has a module's weights."""
    return part.type == POLICY and is_of_module(ModuleInPolicy(part).weights)
