"""Checkpoints of version 0.1, which are one file, as newer ones tell the same.

The file has neither a configuration nor the algorithm's name. Tune wrote the first beside it, into
the trial's folder. Where that is gone, the model is made as the weights' shapes tell.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field, replace
from typing import Any

from tune_ckpt.errors import CorruptDataError, Fault
from tune_ckpt.rllib.converting.algorithms import (
    ALGORITHM_OF_POLICY,
    ALGORITHMS,
    REMOVED_ALGORITHMS,
)
from tune_ckpt.rllib.converting.moves import class_name
from tune_ckpt.rllib.reading.counters import ITERATION
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import POLICY_SPEC, RAY
from tune_ckpt.rllib.reading.member_kinds import Policy
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.nothing_known import TUNE_PARAMS
from tune_ckpt.rllib.reading.plain import fields
from tune_ckpt.rllib.reading.spaces import ACTIONS, OBSERVATIONS
from tune_ckpt.rllib.reading.state_files import read_file, read_nested
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_parent

_FILTER = "MeanStdFilter"
_LAYER = re.compile(r"_hidden_layers\.(\d+)\._model\.0\.weight")


@dataclass(frozen=True)
class Whole:
    """An Algorithm of the old API stack, whatever its files are.

    Attributes:
        state: Its state, as Ray 2.4 has it.
        policies: Its policies, by their ids.
        notes: What was assumed.
        tune_metadata: What Tune kept of the run in a file of its own, up to Ray 2.3.
    """

    state: dict[Any, Any]
    policies: dict[str, Policy]
    notes: tuple[Fault, ...] = ()
    tune_metadata: dict[str, Any] = field(default_factory=dict)


def read_whole(part: Part, checkpoint: Any, filesystem: Any = None) -> Whole:
    """Return an Algorithm of the old API stack, of any version.

    Args:
        part: The Algorithm's part of the checkpoint.
        checkpoint: Where it is, as the caller said it.
        filesystem: In which that is to be looked up.
    """
    policies = {k: item for k, item in members(part).items() if isinstance(item, Policy)}
    # Up to Ray 2.3 the iteration stood in a file of Tune's only.
    state = {ITERATION: part.tune_metadata.get("iteration", 0), **(fields(part.state) or {})}
    if not part.is_first_generation:
        return Whole(state, policies, (), part.tune_metadata)
    stored = _run_config(part, checkpoint, filesystem)
    worker = _worker(read_nested(state.get("worker"), part.state_path))
    config = _assumed(policies, worker) if stored is None else _completed(stored, policies)
    notes = (Fault("config", _ASSUMED),) if stored is None else ()
    name = _algorithm(policies, part)
    told = {
        "algorithm_class": name,
        "config": config,
        "worker": worker,
        "counters": state.get("counters") or _executed(state),
        ITERATION: state[ITERATION],
    }
    policies = {k: _told(policy, config, name) for k, policy in policies.items()}
    return Whole(told, policies, notes, part.tune_metadata)


_ASSUMED = (
    "it was not found (params.pkl or params.json, in the folder above): the model is as the "
    f"weights' shapes tell, all else is as Ray {RAY} has it by itself; pass config= with "
    "what it was trained with"
)


def _worker(stored: Any) -> dict[Any, Any]:
    worker = fields(stored) or {}
    return {key: worker[key] for key in ("filters", "policy_mapping_fn") if key in worker}


def _executed(state: dict[Any, Any]) -> Any:
    # Ray 1 kept the counters in what executed the algorithm.
    return (fields(state.get("train_exec_impl")) or {}).get("counters")


def _told(policy: Policy, config: dict[Any, Any], algorithm: str) -> Policy:
    """Return a policy whose state tells what it was made with."""
    spec = dict(policy.spec)
    if not (spec.get(OBSERVATIONS) and spec.get(ACTIONS)):
        return policy
    spec["policy_class"] = class_name(policy.cls) or _policy_of(algorithm, config)
    spec["config"] = {**config, **(fields(spec.get("config")) or {})}
    state = {**policy.state, "policy_spec": {name: spec.get(name) for name in POLICY_SPEC}}
    return replace(policy, read=lambda: state)


def _policy_of(algorithm: str, config: dict[Any, Any]) -> str | None:
    """Return the name of an algorithm's class of policies."""
    framework = config.get("framework", config.get("framework_str", "torch"))
    ends = {"torch": ("Torch",), "tf": ("TF1", "TF")}.get(framework, ("TF2", "TF"))
    names = [name for name, whose in ALGORITHM_OF_POLICY.items() if whose.name == algorithm]
    return next((n for end in ends for n in names if n.endswith(f"{end}Policy")), None)


# ------------------------------------------------------------------------------- what was assumed


def _run_config(part: Part, checkpoint: Any, filesystem: Any) -> dict[Any, Any] | None:
    """Return the configuration that Tune wrote into the trial's folder, or None."""
    for store in (part.folder.store, _above(part, checkpoint, filesystem)):
        for name in TUNE_PARAMS:
            if store.stat(name) is not None:
                return fields(_params(store, name))
    return None


def _above(part: Part, checkpoint: Any, filesystem: Any) -> Store:
    store, name = open_parent(checkpoint, filesystem)
    if name != part.state_file:
        return store
    if hasattr(checkpoint, "filesystem"):
        checkpoint, filesystem = checkpoint.path, checkpoint.filesystem
    return open_parent(os.path.dirname(os.fspath(checkpoint)), filesystem)[0]


def _params(store: Store, name: str) -> Any:
    if name.endswith(".pkl"):
        return read_file(store, name)
    try:
        return json.loads(store.read_bytes(name))
    except ValueError as error:
        raise CorruptDataError(store.path(name), f"it is not JSON ({error})") from error


def _algorithm(policies: dict[str, Policy], part: Part) -> str:
    classes = [class_name(policy.cls) for policy in policies.values()]
    by_class = (ALGORITHM_OF_POLICY[n].name for n in classes if n in ALGORITHM_OF_POLICY)
    known = {*ALGORITHMS, *REMOVED_ALGORITHMS}
    # Tune named a trial's folder by the algorithm: PPO_CartPole-v1_0f3a1_00000_0_...
    folders = (folder.partition("_")[0] for folder in reversed(part.path.split("/")))
    return next(by_class, None) or next((name for name in folders if name in known), "")


def _assumed(policies: dict[str, Policy], worker: dict[Any, Any]) -> dict[str, Any]:
    filters = (fields(worker.get("filters")) or {}).values()
    has_some = any(class_name(stored).endswith(_FILTER) for stored in filters)
    return {**_model(policies), **({"observation_filter": _FILTER} if has_some else {})}


def _completed(stored: dict[Any, Any], policies: dict[str, Policy]) -> dict[Any, Any]:
    """Return what Tune wrote, and of the model what that does not say, and the weights do.

    Tune wrote what the user said only; what else there was, the algorithm had by itself.
    """
    model = {**_value_layers(_weights(policies)), **(fields(stored.get("model")) or {})}
    of_sac = {key: fields(stored[key]) or {} for key in _MODELS_OF_SAC if key in stored}
    completed = {key: {"fcnet_activation": "relu", **told} for key, told in of_sac.items()}
    return {**stored, **completed, "model": model}


# Ray 1 completed these; Ray 2 takes them for the whole, with another activation.
_MODELS_OF_SAC = ("policy_model", "policy_model_config", "Q_model", "q_model_config")


def _model(policies: dict[str, Policy]) -> dict[str, Any]:
    weights = _weights(policies)
    layers = {int(found[1]): k for k in weights if (found := _LAYER.fullmatch(str(k)))}
    if not layers:
        return {}
    sizes = [int(weights[layers[number]].shape[0]) for number in sorted(layers)]
    model = {"fcnet_hiddens": sizes, **_value_layers(weights)}
    return {"framework": "torch", "num_workers": 0, "model": model}


def _weights(policies: dict[str, Policy]) -> dict[Any, Any]:
    return (fields(next(iter(policies.values())).weights) if policies else None) or {}


def _value_layers(weights: dict[Any, Any]) -> dict[str, bool]:
    """Return whether values have layers of their own, if there are any values."""
    has_own = any(str(key).startswith("_value_branch_separate") for key in weights)
    has_values = any(str(key).startswith("_value_branch") for key in weights)
    return {"vf_share_layers": not has_own} if has_values else {}
