"""From a policy of the old API stack to an RLModule of the new one, with the same outputs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tune_ckpt.errors import Fault, InvalidArgumentError, RestoreReport
from tune_ckpt.objects.trust import Trust
from tune_ckpt.objects.wishes import Strict
from tune_ckpt.rllib.converting.algorithms import ALGORITHM_OF_POLICY
from tune_ckpt.rllib.reading.members import only
from tune_ckpt.rllib.reading.weights import Weights, weights_of
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.build_policy import build_policy
from tune_ckpt.rllib.restoring.key_maps import KeyMap, default_key_map, migrated_model_config
from tune_ckpt.rllib.restoring.opening import open_told
from tune_ckpt.rllib.restoring.restore_policy import find_policy
from tune_ckpt.rllib.restoring.rllib_classes import check_installed, find_algorithm
from tune_ckpt.rllib.restoring.same_outputs import compare_outputs
from tune_ckpt.tree.apart import check_apart
from tune_ckpt.tree.storage.store import open_store


@dataclass(frozen=True)
class Migrated:
    """A policy that has become an RLModule.

    Attributes:
        module: The RLModule.
        key_map: Which of its weights is which of the policy's.
        differences: By output, how much it differs at most from the policy's.
        report: What was taken over, what did not fit, and what the new module has no place for.
        path: Where it was saved; None where it was not.
    """

    module: Any = field(repr=False)
    key_map: KeyMap = field(repr=False)
    differences: dict[str, float]
    report: RestoreReport = field(repr=False)
    path: str | None = None
    tolerance: float = field(default=1e-5, repr=False)

    @property
    def equal(self) -> bool:
        """Whether all outputs that both have are the same, to within the tolerance."""
        found = self.differences.values()
        return bool(found) and all(difference <= self.tolerance for difference in found)


def migrate_to_rl_module(
    checkpoint: Any,
    module_spec: Any = None,
    *,
    policy_id: str | None = None,
    key_map: Mapping[str, str] | None = None,
    observations: Any = None,
    path: Any = None,
    config: dict[str, Any] | None = None,
    tolerance: float = 1e-5,
    filesystem: Any = None,
    trusted: str | Collection[str] = (),
    strict: Strict = True,
) -> Migrated:
    """Bring a policy of the old API stack to the new one, and compare the outputs of both.

    >>> migrate_to_rl_module("old_checkpoint", policy_id="pol1", path="new/module").equal
    True

    Args:
        checkpoint: A checkpoint of version 0.1 to 1.1, of an Algorithm or of the Policy itself: a
            local path, a URI, or a Ray Checkpoint.
        module_spec: What becomes of it: an RLModuleSpec, or an AlgorithmConfig whose default module
            is meant. By default the module of the same algorithm, with the old model's layers.
        policy_id: Which policy; not needed where there is only one.
        key_map: From the module's weights' names to the policy's. By default RLlib's built-in fully
            connected, convolutional and LSTM models are known, and DQN's values.
        observations: A batch for which the outputs are compared; by default random ones.
        path: A folder in which the module is saved, in the layout of version 2.1.
        config: Entries of the policy's configuration, instead of those that are stored; see
            `restore_policy`.
        tolerance: How much outputs may differ in `Migrated.equal`.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the checkpoint is to be looked up.
        trusted: Modules and packages whose classes and functions the checkpoint may name.
        strict: True: weights that the module needs and does not get, or that it has no place for,
            are an error. ``"warn"`` and ``"ignore"``: what fits is taken over.

    Returns:
        The module, the map that was used, and how much its outputs differ.

    Raises:
        ComponentNotFoundError, NotInCheckpointError: There is no such policy.
        InvalidArgumentError: There are several policies, or it is one of TensorFlow's; or it is
            none of RLlib's own, so ``key_map`` or ``module_spec`` is needed; or ``path`` is in the
            checkpoint.
        ClassNotFoundError: Its class is neither RLlib's, imported, nor trusted.
        RestoreError: Its weights do not fit the module.
        CorruptDataError, CorruptCheckpointError: The checkpoint is damaged.
        MissingDependencyError: RLlib or torch is not installed.
    """
    check_installed()
    part, assumed = open_told(checkpoint, filesystem)
    if path is not None:
        check_apart("path", open_store(path), part.folder.store)
    _, found = only(part, policy_id, "policy_id")
    stored = find_policy(found)
    trust = Trust.of(False, trusted)
    account = Account(stored.path, strict, left_out=[] if config else [*assumed])
    weights = weights_of(stored)
    names = _names(key_map, weights)
    policy = build_policy(stored, trust, account, config)
    module = _built(module_spec, policy)
    usable = account.fit("module", module.state_dict(), _renamed(weights, names, module))
    _tell_of_the_rest(weights, names, policy, account)
    account.check()
    _give(module, usable)
    _give(policy.model, weights)
    differences = compare_outputs(policy, module, observations)
    account.close(module)
    where = None if path is None else _saved(module, path)
    return Migrated(module, names, differences, account.report(), where, tolerance)


_MAP = "a dict from the module's names to those of `load_weights`; no default one fits this model"


def _names(key_map: Mapping[str, str] | None, weights: Weights) -> KeyMap:
    names = dict(key_map) if key_map is not None else default_key_map(weights)
    if names is None:
        raise InvalidArgumentError("key_map", None, (_MAP,))
    return names


def _saved(module: Any, path: Any) -> str:
    """Save a module, and return where: RLlib's own function knows no relative paths."""
    text: str = os.fspath(path)
    full = text if "://" in text else os.path.abspath(text)
    module.save_to_path(full)
    return full


def _built(module_spec: Any, policy: Any) -> Any:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    spec = _config_of(policy) if module_spec is None else module_spec
    if isinstance(spec, AlgorithmConfig):
        told, spec = spec.model_config, spec.get_default_rl_module_spec()
        spec.model_config = told if module_spec is not None else {**told, **_model_config(policy)}
    if spec.observation_space is None:
        spec.observation_space = policy.observation_space
        spec.action_space = policy.action_space
    if spec.model_config is None:
        spec.model_config = _model_config(policy)
    return spec.build()


def _model_config(policy: Any) -> dict[str, Any]:
    told = migrated_model_config(policy.config["model"], policy.observation_space.shape)
    hiddens = policy.config.get("hiddens")  # DQN's, in advantages and values
    return told if hiddens is None else {**told, "head_fcnet_hiddens": hiddens}


def _config_of(policy: Any) -> Any:
    algorithm = ALGORITHM_OF_POLICY.get(type(policy).__name__)
    if algorithm is None:
        expected = (f"an RLModuleSpec; no algorithm has a {type(policy).__name__} by itself",)
        raise InvalidArgumentError("module_spec", None, expected)
    config = find_algorithm(algorithm.name).get_default_config()
    told = {key for key in _OF_NETWORKS if key in policy.config and hasattr(config, key)}
    config.training(**{key: policy.config[key] for key in told})
    return config.environment(
        observation_space=policy.observation_space, action_space=policy.action_space
    )


_OF_NETWORKS = ("dueling", "double_q", "num_atoms", "v_min", "v_max")  # DQN's


def _renamed(weights: Weights, names: KeyMap, module: Any) -> dict[str, Any]:
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    # A convolution over one pixel is the same as a dense layer, but for its shape.
    found = {new: weights[old] for new, old in names.items() if old in weights}
    return {
        new: array.reshape(shapes[new]) if _is_pixelwise(array, shapes.get(new)) else array
        for new, array in found.items()
    }


def _is_pixelwise(array: Any, shape: tuple[int, ...] | None) -> bool:
    return shape is not None and array.shape == (*shape, 1, 1)


def _tell_of_the_rest(weights: Weights, names: KeyMap, policy: Any, account: Account) -> None:
    unused = [name for name in weights if name not in names.values()]
    idle = tuple(part for sign, part in _IDLE.items() if any(n.startswith(sign) for n in weights))
    for name in unused:
        if name.startswith(idle):
            account.left_out.append(Fault(name, "the old model has it, but does not use it"))
        else:
            account.unexpected.append(name)
    if policy.config.get("observation_filter", "NoFilter") != "NoFilter":
        reason = "a module has no filter of observations; see MeanStdFilter among the connectors"
        account.left_out.append(Fault("observation_filter", reason))


# Which branches old models have and do not use, by how other weights' names begin.
_IDLE = {"lstm.": "_value_branch_separate.", "advantage_module.": "_value_branch"}


def _give(module: Any, weights: Mapping[str, Any]) -> None:
    import torch

    given = {name: torch.as_tensor(np.ascontiguousarray(a)) for name, a in weights.items()}
    module.load_state_dict({**module.state_dict(), **given})
