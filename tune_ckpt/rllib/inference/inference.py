"""All that it takes to act like a policy of a checkpoint, without Ray: read as plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_ckpt.errors import CorruptDataError, MissingDependencyError, NotInCheckpointError
from tune_ckpt.rllib.converting.config_keys import newest_settings
from tune_ckpt.rllib.converting.modules import model_config, newest_model_config
from tune_ckpt.rllib.converting.moves import class_name
from tune_ckpt.rllib.converting.weight_names import newest_names
from tune_ckpt.rllib.inference.actions import Actions
from tune_ckpt.rllib.inference.families import make_recipe
from tune_ckpt.rllib.inference.filters import Filter, find_filter
from tune_ckpt.rllib.inference.layers import Layer
from tune_ckpt.rllib.inference.recipes import BUILDABLE, Known, Recipe
from tune_ckpt.rllib.inference.tensorflow_weights import as_torch
from tune_ckpt.rllib.reading.config import stored_config
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.member_kinds import Member, Module, Policy
from tune_ckpt.rllib.reading.members import module_of, only
from tune_ckpt.rllib.reading.plain import fields, plain
from tune_ckpt.rllib.reading.spaces import ACTIONS, OBSERVATIONS, Space, spaces_of
from tune_ckpt.rllib.reading.weights import Weights, weights_of
from tune_ckpt.rllib.restoring.opening import open_told


@dataclass(frozen=True)
class Inference:
    """What a policy or RLModule needs to act.

    Attributes:
        recipe: How its network is put together.
        weights: The weights that are needed for it, by their names.
        observation_space: Of what the network sees.
        actions: How actions are made.
        filter: What is done to observations first; None for nothing.
        absent: What RLlib does between environment and network, and this does not.
        source: Where it is from: path, policy, class, and Ray's version.
    """

    recipe: Recipe
    weights: Weights
    observation_space: Space
    actions: Actions
    filter: Filter | None
    absent: tuple[str, ...]
    source: dict[str, Any]

    @property
    def state_size(self) -> int:
        """The size of each of the LSTM's two states; 0 without one."""
        stored = self.weights.get(f"{self.recipe.lstm}.weight_hh_l0")
        return 0 if stored is None else int(stored.shape[-1])

    def network(self) -> Any:
        """Return the network of torch.

        Raises:
            CorruptDataError: Its weights do not fit together.
            MissingDependencyError: torch is not installed.
        """
        try:
            from tune_ckpt.rllib.inference.networks import Network
        except ModuleNotFoundError as error:
            raise MissingDependencyError(str(error.name), "A network") from error
        return self._checked(Network).eval().requires_grad_(False)

    def tensorflow_network(self) -> Any:
        """Return the network of TensorFlow, which must be installed.

        Raises:
            CorruptDataError: Its weights do not fit together.
        """
        from tune_ckpt.rllib.inference.tensorflow_networks import Network

        return self._checked(Network)

    def _checked(self, make: Callable[..., Any]) -> Any:
        try:
            network = make(self.recipe, self.weights, self.actions, self.filter)
            network.check(sample(self.observation_space, 2))
        except (AttributeError, LookupError, RuntimeError, ValueError, TypeError) as error:
            reason = f"its weights do not fit together ({error!r})"
            raise CorruptDataError(self.source["checkpoint"], reason) from error
        return network

    def plain(self) -> dict[str, Any]:
        """Return it as plain data and arrays."""
        kept = {name: vars(self)[name] for name in ("weights", "observation_space", "source")}
        return {
            **kept,
            "recipe": asdict(self.recipe),
            "actions": asdict(self.actions),
            "filter": None if self.filter is None else asdict(self.filter),
            "absent": list(self.absent),
        }

    @classmethod
    def of_plain(cls, told: dict[str, Any]) -> Inference:
        """Return what `plain` returned.

        Raises:
            AttributeError, KeyError, TypeError: It is something else.
        """
        recipe = Recipe(**told["recipe"])
        layers: dict[str, Any] = {
            name: tuple(Layer(**layer) for layer in getattr(recipe, name))
            for name in ("trunk", "head", "value")
        }
        return cls(
            replace(recipe, **layers),
            told["weights"],
            told["observation_space"],
            Actions(**told["actions"]),
            None if told["filter"] is None else Filter(**told["filter"]),
            tuple(told["absent"]),
            told["source"],
        )


def read_inference(
    checkpoint: Any,
    policy_id: str | None,
    filesystem: Any = None,
    config: dict[str, Any] | None = None,
) -> Inference:
    """Return what a policy or RLModule of a checkpoint needs to act.

    Args:
        checkpoint: A checkpoint of any version, of an Algorithm or any part of one.
        policy_id: Which policy or module; not needed where there is only one.
        filesystem: Where to look the checkpoint up.
        config: Entries of the configuration, instead of those that are stored.

    Raises:
        ComponentNotFoundError, InvalidArgumentError: There is no such policy, or several.
        NotInCheckpointError: Its network is none of RLlib's own, or something is not told.
        CorruptDataError, CorruptCheckpointError: The checkpoint is damaged.
    """
    part, assumed = open_told(checkpoint, filesystem)
    if assumed and not config:
        raise NotInCheckpointError(part.path, _NO_MODEL[0], _OF_THE_OLDEST)
    name, found = only(part, policy_id, "policy_id")
    member = module_of(part, name, found)
    told = _known(part, member, config or {})
    known = as_torch(told)
    recipe = make_recipe(known)
    filter, absent = find_filter(part, found, name)
    if "original_space" in known.observation_space:
        absent.append("RLlib's preprocessor of observations")
    weights = {n: a for n, a in known.weights.items() if n.startswith(tuple(recipe.weights))}
    return Inference(
        recipe,
        weights,
        known.observation_space,
        Actions.of(known.action_space, known.config, known.path),
        filter,
        tuple(absent),
        {
            "checkpoint": part.path,
            "policy_id": name,
            "class": told.cls,
            "ray_version": part.metadata.get("ray_version"),
        },
    )


def _known(part: Part, member: Member, given: dict[str, Any]) -> Known:
    spaces = spaces_of(member)
    observations, actions = spaces[OBSERVATIONS], spaces[ACTIONS]
    if observations is None or actions is None or not observations.keys() >= _BOX:
        reason = "its observations are no arrays of one shape; restore the module instead"
        raise NotInCheckpointError(member.path, BUILDABLE, reason)
    weights, cls = weights_of(member), class_name(member.cls)
    is_module_in_policy = isinstance(member, Policy) and member.has_module
    if is_module_in_policy:
        cls = cls.replace("TorchPolicy", "TorchRLModule")
    weights = newest_names(weights, cls)
    stored = stored_config(part) if isinstance(member, Module) else member.spec.get("config")
    told = newest_settings(plain(fields(stored) or {}, member.path))
    config = {**told, **newest_settings(given)}
    model = config.get("model")
    if isinstance(member, Module):
        model = plain(newest_model_config(member), member.path)
    elif is_module_in_policy and model:
        model = model_config(model)
    if not isinstance(model, dict):
        raise NotInCheckpointError(member.path, *_NO_MODEL)
    return Known(member.path, cls, weights, model, observations, actions, config)


_NO_MODEL = (
    "configuration of its model",
    'it stores none; pass config={"model": {"fcnet_activation": ...}}',
)
_OF_THE_OLDEST = (
    "version 0.1 stores none, and Tune's params.pkl or params.json is not in the folder above; put "
    'it there, or pass config={"model": {"fcnet_activation": ...}}'
)
_BOX = {"low", "high", "shape", "dtype"}


def sample(space: Space, rows: int) -> npt.NDArray[Any]:
    """Return random observations of a space, always the same ones."""
    shape, generator = tuple(space["shape"]), np.random.default_rng(0)
    low, high = (
        np.nan_to_num(np.broadcast_to(space[name], shape).astype(float), posinf=1, neginf=-1)
        for name in ("low", "high")
    )
    low, high = np.where(np.abs(low) > _LARGE, -1, low), np.where(np.abs(high) > _LARGE, 1, high)
    low, high = np.minimum(low, high), np.maximum(low, high)  # where one bound is beyond 1
    return generator.uniform(low, high, (rows, *shape)).astype(space["dtype"])


_LARGE = 1e6  # such bounds stand for none
