"""An AlgorithmConfig of today's RLlib from what a checkpoint tells in plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import Fault, NotInCheckpointError
from tune_ckpt.formats.references import Reference
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.trust import Trust
from tune_ckpt.rllib.converting.algorithms import algorithm_name
from tune_ckpt.rllib.converting.config_keys import newest_settings
from tune_ckpt.rllib.converting.moves import class_name, moved
from tune_ckpt.rllib.reading.config import stored_config
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.member_kinds import spec_fields
from tune_ckpt.rllib.reading.plain import fields, plain, stored_name
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.plain_config import plain_config
from tune_ckpt.rllib.restoring.rebuilt_connectors import env_to_module_connectors
from tune_ckpt.rllib.restoring.rllib_classes import (
    check_exists,
    find_algorithm,
    find_rllib_class,
    unpickled,
)

# What is made anew for the policies that are chosen, or is RLlib's own business.
_NOT_TAKEN = {
    *("policies", "class", "algo_class", "_is_frozen"),
    *("stats_cls_lookup", "enable_rl_module_and_learner", "enable_env_runner_and_connector_v2"),
    *("sample_collector", "_rl_module_spec", "_per_module_overrides"),
}


def rebuilt_config(part: Part, is_new_stack: bool, trust: Trust, account: Account) -> Any:
    """Return a configuration with what today's RLlib knows of a checkpoint's.

    Args:
        part: The Algorithm in the checkpoint.
        is_new_stack: Whether it is for the new API stack.
        trust: Whose classes and functions are taken with their names.
        account: Takes what was left out.
    """
    config = _algorithm(part, trust).get_default_config()
    config.api_stack(
        enable_rl_module_and_learner=is_new_stack, enable_env_runner_and_connector_v2=is_new_stack
    )
    told = _told(part)
    known = vars(config).keys() - _NOT_TAKEN
    unknown = {name for name, value in told.items() if value is not None} - vars(config).keys()
    made, lost = _made({name: told[name] for name in told if name in known}, trust)
    for name, value in made.items():
        setattr(config, name, _CHANGED.get(name, _same)(value))
    config.policies = _policies(told.get("policies"), trust, lost)
    if made.get("_env_to_module_connector") is None:
        make = env_to_module_connectors(part, trust, account)
        config.env_runners(env_to_module_connector=make)
        lost = [fault for fault in lost if fault.path != "_env_to_module_connector"]
    account.left_out += [
        Fault(f"config/{fault.path}", fault.reason)
        for fault in lost
        if not _is_default(plain(told[fault.path.partition("/")[0]], part.path), vars(config))
    ]
    if unknown - _NOT_TAKEN:
        names = ", ".join(sorted(unknown - _NOT_TAKEN))
        account.left_out.append(Fault("config", f"this Ray does not know of {names}"))
    return config


def _made(told: dict[str, Any], trust: Trust) -> tuple[dict[str, Any], list[Fault]]:
    """Return the settings that may be given to RLlib; a function from agents is not missed here."""
    trained = told.get(_TRAINED)
    ids = {_TRAINED: trained} if isinstance(trained, list | tuple | set) else {}
    made, lost = plain_config({name: told[name] for name in told if name not in ids}, trust)
    return {**made, **ids}, [fault for fault in lost if fault.path != "policy_mapping_fn"]


_TRAINED = "policies_to_train"  # ids, which nothing imports even where they look like names


def _policies(stored: Any, trust: Trust, lost: list[Fault]) -> dict[str, Any]:
    """Return specs of policies with the settings that each has for itself."""
    from ray.rllib.policy.policy import PolicySpec

    make_spec: Any = PolicySpec  # RLlib does not type it
    made = {}
    for name, spec in stored.items() if isinstance(stored, dict) else ():
        told = newest_settings(fields(spec_fields(spec).get("config")) or {})
        own, missing = plain_config(told, trust)
        made[name] = make_spec(config=own)
        lost += (Fault(f"policies/{name}/config/{one.path}", one.reason) for one in missing)
    return made


def _same(value: Any) -> Any:
    return value


def _whole_model(model: dict[str, Any]) -> dict[str, Any]:
    from ray.rllib.models.catalog import MODEL_DEFAULTS

    return {**MODEL_DEFAULTS, **model}


# Values that are spelled otherwise today, or that older Rays completed later on.
_CHANGED: dict[str, Callable[[Any], Any]] = {
    "gym_env_vectorize_mode": lambda mode: mode.lower(),
    "model": _whole_model,
}


def _is_default(value: Any, config: dict[str, Any]) -> bool:
    """Say whether a class is what the configuration has without it, too."""
    classes = (item for item in config.values() if isinstance(item, type))
    return isinstance(value, Reference) and moved(value.name) in map(name_of_class, classes)


def _told(part: Part) -> dict[str, Any]:
    made = newest_settings(fields(stored_config(part)) or {})
    model = made.get("_model_config")  # RLlib takes a dict for this object
    return made if model is None else {**made, "_model_config": fields(model)}


def _algorithm(part: Part, trust: Trust) -> Any:
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.algorithms.registry import ALGORITHMS

    has_ctor = part.folder.ctor is not None
    stored = (fields(part.state) or {}).get("algorithm_class")
    name = stored_name(stored) or (part.folder.cls if has_ctor else "")
    if not name:
        raise NotInCheckpointError(part.path, "class of an Algorithm", "pass config=")
    short = algorithm_name(class_name(name))
    is_of_rllib = name.startswith("ray.") or name == short
    if is_of_rllib:
        check_exists(short, part.path)
    if is_of_rllib and short in ALGORITHMS:
        return find_algorithm(short)
    return find_rllib_class(name, Algorithm, trust, part.path)


def unpickled_config(part: Part) -> Any:
    """Return a checkpoint's own configuration, which may import and run anything.

    Raises:
        PickleReadError: It cannot be unpickled here, most often because it is of another Ray.
        NotInCheckpointError: It is no pickle, or no AlgorithmConfig.
    """
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    store, name = part.folder.store, part.folder.ctor or part.state_file
    found = None
    if name is not None and name.endswith(".pkl"):
        found = _config_in(unpickled(store.read_bytes(name), store.path(name)))
    if not isinstance(found, AlgorithmConfig):
        what = "not in a pickle" if found is None else f"of type {type(found).__name__}"
        reason = f"its configuration is {what}: without allow_pickle it is read as plain data"
        raise NotInCheckpointError(part.path, "pickled AlgorithmConfig", reason)
    return found.copy(copy_frozen=False)


def _config_in(found: object) -> Any:
    """Return an old state's configuration, or the one that an Algorithm was constructed with."""
    match found:
        case {"config": config} | {"ctor_args_and_kwargs": (_, {"config": config})}:
            return config
        case {"ctor_args_and_kwargs": ((config, *_), _)}:
            return config
    return None
