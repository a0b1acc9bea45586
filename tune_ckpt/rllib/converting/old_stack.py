"""Algorithms and policies of the old API stack, as Ray 2.60 reads them.

Ray 2.60 makes a configuration of its defaults and of what the file says, one key after the other.
So the file says what the old one said, by today's keys.
"""

from __future__ import annotations

import json
from typing import Any

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting import pickling
from tune_ckpt.rllib.converting.algorithms import (
    ALGORITHM_OF_POLICY,
    ANY_CONFIG,
    REMOVED_ALGORITHMS,
    STAND_INS,
    Algorithm,
)
from tune_ckpt.rllib.converting.config_keys import ADDED_TO_POLICIES, AS_A_DICT
from tune_ckpt.rllib.converting.config_values import rebuild
from tune_ckpt.rllib.converting.first_generation import Whole
from tune_ckpt.rllib.converting.folders import Folder, below
from tune_ckpt.rllib.converting.given import Given, embedded
from tune_ckpt.rllib.converting.json_spaces import space_to_dict
from tune_ckpt.rllib.converting.moves import class_name
from tune_ckpt.rllib.converting.pickled_spaces import space_object
from tune_ckpt.rllib.converting.pickling import Call
from tune_ckpt.rllib.converting.replay_buffers import buffer_class, of_old_stack
from tune_ckpt.rllib.converting.restating import Restating
from tune_ckpt.rllib.reading.counters import ITERATION
from tune_ckpt.rllib.reading.finding import TUNE_METADATA, Part
from tune_ckpt.rllib.reading.generations import (
    ALGORITHM,
    OLD_METADATA,
    OLD_VERSION,
    POLICY,
    RAY,
    STATE_OF_TYPE,
)
from tune_ckpt.rllib.reading.member_kinds import Policy
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.plain import fields
from tune_ckpt.rllib.reading.spaces import ACTIONS, OBSERVATIONS, spaces_of
from tune_ckpt.tree.layout import RLLIB_FIELDS, STATE

# What an Algorithm's state has besides, and Ray 2.60 does without.
_NOT_CARRIED = {
    "local_replay_buffer": "the replay buffer's contents were not carried; sampling fills it again",
    "eval_policy_mapping_fn": "evaluation maps agents to policies as sampling does",
}
_NO_ENV = "none is stored: it computes actions, but cannot train"
_STACK = {"enable_rl_module_and_learner": False, "enable_env_runner_and_connector_v2": False}
_SPACES = (OBSERVATIONS, ACTIONS)


class OldStack:
    """Upgrades parts of one checkpoint of the old API stack.

    Args:
        given: What the caller says of the configuration.

    Attributes:
        notes: What could not be carried.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self.notes: list[Fault] = []

    def algorithm(self, whole: Whole, file: str) -> Folder:
        """Return an Algorithm's folder."""
        state, found, restating = whole.state, whole.policies, Restating(file)
        self.notes += () if self._given.is_whole else whole.notes
        self.notes += () if whole.notes else self._given.unknown_to(state.get("config"))
        algorithm = self._given.algorithm_for(state.get("algorithm_class"))
        config = _with_buffer(self._config(state.get("config"), restating), algorithm)
        if config.get("env") is None:
            config["policies"] = _with_spaces(config.get("policies"), found)
            if (fields(state.get("config")) or {}).get("env") is None:  # code is noted elsewhere
                self.notes.append(Fault("config/env", _NO_ENV))
        told = {
            "algorithm_class": algorithm.cls,
            "config": config,
            "worker": _worker(state, config, restating, list(found)),
            "counters": _counters(state.get("counters")),
            ITERATION: state.get(ITERATION, 0),
        }
        self.notes += restating.notes
        self.notes += (Fault(key, why) for key, why in _NOT_CARRIED.items() if key in state)
        folder = _folder(ALGORITHM, told, policy_ids=list(found))
        if whole.tune_metadata:
            kept = restating.value(whole.tune_metadata)
            folder.files[TUNE_METADATA] = pickling.dumps(kept)
        policies = {name: self._policy(policy, name) for name, policy in found.items()}
        folder.children["policies"] = Folder(children=policies)
        return folder

    def policy(self, part: Part) -> Folder:
        """Return a Policy's folder."""
        (found,) = members(part).values()
        assert isinstance(found, Policy)
        _check_exists(class_name(found.cls))
        self.notes += self._given.unknown_to(found.spec.get("config"))
        return self._policy(found, None)

    # ----------------------------------------------------------------------- an Algorithm's parts

    def _config(self, stored: Any, restating: Restating) -> dict[str, Any]:
        config = rebuild(self._given.others(stored), restating, "config")
        # Flags first: they decide what RLlib makes of the others.
        return {**_STACK, **config, **embedded(self._given.keys), **_STACK}

    # ------------------------------------------------------------------------------- policies

    def _policy(self, policy: Policy, name: str | None) -> Folder:
        restating = Restating(policy.path)
        state = {k: item for k, item in policy.state.items() if k not in _REPLACED}
        told = restating.value(state)
        if _has_spaces(policy):
            # An Algorithm's notes on its configuration are on its policies', too.
            to_tell = restating if name is None else Restating(policy.path)
            told["policy_spec"] = self._spec(policy, to_tell)
        told.setdefault("global_timestep", 0)
        told["checkpoint_version"] = OLD_VERSION
        self.notes += below("" if name is None else f"policies/{name}/", restating.notes)
        return _folder(POLICY, told)

    def _spec(self, policy: Policy, restating: Restating) -> dict[str, Any]:
        spaces = spaces_of(policy)
        stored = self._given.others(policy.spec.get("config"))
        config = rebuild(stored, restating, "policy_spec", "config")
        config = {**ADDED_TO_POLICIES, **config, **embedded(self._given.keys), **_STACK}
        stored_cls = class_name(policy.cls)
        cls = STAND_INS.get(stored_cls, stored_cls)
        if cls != stored_cls:
            steps = ("policy_spec", "policy_class")
            restating.note(steps, f"Ray {RAY} has no {stored_cls}; {cls} has the same models")
        return {
            "policy_class": cls,
            **{name: space_to_dict(spaces[name]) for name in _SPACES},
            "config": _with_defaults(config, ALGORITHM_OF_POLICY.get(cls)),
        }


def _check_exists(policy: str) -> None:
    """Check that RLlib has not removed a policy without leaving another that stands in for it.

    Raises:
        UnsupportedStateError: It has.
    """
    name = policy.removesuffix("TorchPolicy")
    if name in REMOVED_ALGORITHMS and policy not in STAND_INS:
        reason = (
            f"Ray has no {name} since {REMOVED_ALGORITHMS[name]}; load_weights reads its weights"
        )
        raise UnsupportedStateError((Fault("policy_spec/policy_class", reason),), advice="")


def _with_buffer(config: dict[str, Any], algorithm: Algorithm) -> dict[str, Any]:
    """Return a configuration that tells the replay buffer: today's default is the new stack's."""
    told = config.get("replay_buffer_config") or {}
    if not algorithm.buffer or told.get("type") is not None:
        return config
    buffer = of_old_stack(told, algorithm.buffer)
    return {**config, "replay_buffer_config": {**buffer, "type": buffer_class(algorithm.buffer)}}


def _worker(
    state: dict[Any, Any], config: dict[str, Any], restating: Restating, policy_ids: list[str]
) -> dict[str, Any]:
    worker = fields(state.get("worker")) or {}
    told = {
        "policy_ids": policy_ids,
        "filters": restating.value(fields(worker.get("filters")) or {}, "worker", "filters"),
        "is_policy_to_train": None,
    }
    mapping = "policy_mapping_fn"
    return {**told, mapping: config[mapping]} if mapping in config else told


def _with_defaults(config: dict[str, Any], algorithm: Algorithm | None) -> Call:
    """Return the configuration of a policy, which is to have a value for every key there is.

    The defaults are those of the Ray that loads it.
    """
    cls = Reference(ANY_CONFIG) if algorithm is None else algorithm.config
    items = {AS_A_DICT.get(key, key): item for key, item in config.items()}
    if isinstance(items.get("model"), dict):
        args = (_defaults(cls), "model")
        items["model"] = Call(Reference("operator:getitem"), args, items=items["model"])
    return _defaults(cls, items)


def _defaults(cls: Reference, items: dict[str, Any] | None = None) -> Call:
    return Call(Reference(f"{ANY_CONFIG}.to_dict"), (Call(cls),), items=items or {})


_REPLACED = {"policy_spec", "checkpoint_version"}


def _folder(kind: str, state: dict[str, Any], **facts: Any) -> Folder:
    file = f"{STATE_OF_TYPE[kind]}.pkl"
    metadata = {
        "type": kind,
        "checkpoint_version": OLD_VERSION,
        "format": "cloudpickle",
        RLLIB_FIELDS[STATE]: file,
        **facts,
    }
    return Folder({file: pickling.dumps(state)}, {OLD_METADATA: json.dumps(metadata).encode()})


def _counters(stored: Any) -> Call:
    counters = dict(fields(stored) or {})
    return Call(Reference("collections:defaultdict"), (Reference("builtins:int"), counters))


def _has_spaces(policy: Policy) -> bool:
    return all(policy.spec.get(name) for name in _SPACES)


def _with_spaces(policies: Any, found: dict[str, Policy]) -> dict[str, Any]:
    """Return policies with the spaces that their states tell: no environment is there to ask."""
    told = policies if isinstance(policies, dict) else {}
    return {
        name: _with_own(told.get(name), policy)
        for name, policy in found.items()
        if _has_spaces(policy)
    }


def _with_own(spec: Any, policy: Policy) -> Any:
    if isinstance(spec, Call):  # the caller's, which counts as it is
        return spec
    cls, observations, actions, config = spec or (None, None, None, None)
    spaces = [space_object(space) for space in spaces_of(policy).values()]
    return cls, observations or spaces[0], actions or spaces[1], config
