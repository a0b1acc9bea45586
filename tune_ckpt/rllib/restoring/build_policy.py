"""A policy of the old API stack as it was made, without its state."""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import Fault, InvalidArgumentError, NotInCheckpointError
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.trust import Trust
from tune_ckpt.rllib.converting.algorithms import ALGORITHM_OF_POLICY, STAND_INS
from tune_ckpt.rllib.converting.config_keys import AS_A_DICT, newest_settings
from tune_ckpt.rllib.converting.moves import class_name
from tune_ckpt.rllib.reading.member_kinds import Policy
from tune_ckpt.rllib.reading.plain import fields
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.gym_spaces import make_spaces
from tune_ckpt.rllib.restoring.plain_config import plain_config
from tune_ckpt.rllib.restoring.rllib_classes import (
    check_exists,
    constructing,
    find_algorithm,
    find_rllib_class,
)


def build_policy(
    stored: Policy, trust: Trust, account: Account, config: dict[str, Any] | None = None
) -> Any:
    """Return a policy as it was made, without its state; what was left out goes into the account.

    Args:
        stored: The policy in the checkpoint.
        trust: What the caller trusts.
        account: Takes what was left out of the configuration.
        config: Entries of the configuration, instead of those that are stored.
    """
    cls = _find_class(stored, trust, account)
    spaces = make_spaces(stored)
    told, lost = plain_config(fields(stored.spec.get("config")) or {}, trust)
    account.left_out += filter(_matters, lost)
    older = _OLDER.get(class_name(stored.cls), {})
    told = {**newest_settings(told), **newest_settings(config or {})}
    told = {AS_A_DICT.get(key, key): item for key, item in told.items()}
    told = _whole(told, {**_defaults(cls), **older})
    if told["framework"] != "torch":
        raise InvalidArgumentError("framework", told["framework"], ("torch",))
    with constructing(name_of_class(cls), stored.path, _ADVICE):
        return cls(*spaces, told)


_ADVICE = "Pass the entries that are to be others as config={...}."

# What has no name in the configuration of what another policy stands in for.
_OLDER = {"SimpleQTorchPolicy": {"dueling": False, "double_q": False, "hiddens": []}}


def _find_class(stored: Policy, trust: Trust, account: Account) -> Any:
    from ray.rllib.algorithms.registry import get_policy_class
    from ray.rllib.policy.policy import Policy as Base

    name = stored.cls
    if not name:
        raise NotInCheckpointError(stored.path, "class of a policy", "nothing names it")
    if not name.startswith("ray.") and set(name) & set(".:"):
        return find_rllib_class(name, Base, trust, stored.path)
    short = class_name(name)
    if short not in STAND_INS:
        check_exists(short.removesuffix("TorchPolicy"), stored.path)
        return get_policy_class(short) or find_rllib_class(name, Base, trust, stored.path)
    reason = f"this Ray has no {short}; {STAND_INS[short]} has the same models"
    account.left_out.append(Fault("policy_class", reason))
    return get_policy_class(STAND_INS[short])


def _defaults(cls: type) -> dict[str, Any]:
    """Return the defaults of the old API stack, which version 0.1 does not store."""
    algorithm = ALGORITHM_OF_POLICY.get(cls.__name__)
    if algorithm is None:
        return {}
    config = find_algorithm(algorithm.name).get_default_config()
    config.api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False)
    defaults = config.to_dict()
    return {key: defaults[key] for key in defaults.keys() - {"callbacks", "env"}}


def _whole(config: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that today's RLlib knows, over its defaults."""
    from ray.rllib.models.catalog import MODEL_DEFAULTS

    models = MODEL_DEFAULTS, defaults.get("model") or {}, config.get("model") or {}
    model = {k: v for told in models for k, v in told.items() if k in MODEL_DEFAULTS}
    kept = {key: value for key, value in config.items() if key not in _OF_WORKERS}
    return {"framework": "torch", **defaults, **kept, "model": model}


# Of no use to a policy alone.
_OF_WORKERS = (
    *("env", "callbacks", "policies", "policy_mapping_fn", "policies_to_train"),
    "multiagent",
)
# Objects and classes of RLlib's own, of which a policy takes none from its configuration.
_OF_RLLIB = ("class", "sample_collector", "stats_cls_lookup", "_learner_hps", "_rl_trainer_hps")


def _matters(lost: Fault) -> bool:
    """Say whether a policy alone would be another one with what was left out."""
    key = lost.path.partition("/")[0]
    if key == "callbacks":
        return not lost.reason.startswith("ray.rllib.")
    return key not in (*_OF_WORKERS, *_OF_RLLIB)
