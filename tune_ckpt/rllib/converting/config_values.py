"""An old configuration as Ray 2.60 has it: by the tables of keys, value by value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.algorithms import ANY_CONFIG
from tune_ckpt.rllib.converting.config_keys import (
    MAY_BE_MINUS_ONE,
    REMOVED,
    is_deprecated,
    newest,
    told_settings,
)
from tune_ckpt.rllib.converting.moves import moved, reference
from tune_ckpt.rllib.converting.pickling import Call
from tune_ckpt.rllib.converting.portable import NOT_SERIALIZABLE
from tune_ckpt.rllib.converting.replay_buffers import buffer_class
from tune_ckpt.rllib.converting.restating import CONFIG, LOST, OBJECTS, Restating, Steps
from tune_ckpt.rllib.reading.generations import POLICY_SPEC, RAY
from tune_ckpt.rllib.reading.member_kinds import spec_fields
from tune_ckpt.rllib.reading.plain import code_name, fields


def rebuild(config: Any, restating: Restating, *steps: Any) -> dict[str, Any]:
    """Return a configuration with Ray 2.60's keys; what went is noted.

    Args:
        config: An AlgorithmConfig, or a dict of an older Ray; also one with overrides only.
        restating: Takes the notes.
        steps: Where it stands.
    """
    made: dict[str, Any] = {}
    for key, value in told_settings(fields(config) or {}):
        if key in REMOVED:
            reason = f"{value!r}: Ray {RAY} has no such setting"
            restating.note((*steps, key), reason)
        else:
            found = _VALUES.get(newest(key), _restated)(restating, value, (*steps, key))
            if found is not LOST and (found is not None or newest(key) not in made):
                made[newest(key)] = found
    return made


# ------------------------------------------------------------------------------------ values


def _restated(restating: Restating, value: Any, steps: Steps) -> Any:
    return restating.value(value, *steps)


def _function(restating: Restating, value: Any, steps: Steps) -> Any:
    if value == NOT_SERIALIZABLE:
        return restating.note(steps, "its code was not carried")
    return restating.value(value, *steps)


def _class_or_name(restating: Restating, value: Any, steps: Steps) -> Any:
    found = reference(value)
    return _function(restating, value if found is None else found, steps)


def _environment(restating: Restating, value: Any, steps: Steps) -> Any:
    # msgpack has classes by their paths; registered names are text as well.
    if isinstance(value, str) and "<locals>" in value:
        return restating.note(steps, f"the code of {value} was not carried")
    return restating.value(value, *steps)


def _with_type(restating: Restating, value: Any, steps: Steps) -> Any:
    made = dict(restating.value(fields(value) or {}, *steps))
    if "type" in made:
        made["type"] = _class_or_name(restating, (fields(value) or {})["type"], (*steps, "type"))
    return {key: item for key, item in made.items() if item is not LOST}


def _replay_buffer(restating: Restating, value: Any, steps: Steps) -> Any:
    told = {key: item for key, item in (fields(value) or {}).items() if key not in _NOT_OF_BUFFERS}
    made_here = code_name(told["type"]) if isinstance(told.get("type"), Opaque) else None
    if made_here:  # the subclass of `buffer_class`, which has its base's name
        told["type"] = made_here.replace(":", ".")
    made = _with_type(restating, told, steps)
    if isinstance(made.get("type"), str | Reference) and not made.get("no_local_replay_buffer"):
        is_new = "Episode" in str(made["type"])  # of the new API stack, which takes the name
        made["type"] = made["type"] if is_new else buffer_class(made["type"])
    return made


_NOT_OF_BUFFERS = {"_enable_replay_buffer_api", "learning_starts", "replay_batch_size"}


def _model(restating: Restating, value: Any, steps: Steps) -> Any:
    told = {k: v for k, v in (fields(value) or {}).items() if not is_deprecated(v)}
    if told.pop("custom_preprocessor", None) is not None:
        restating.note((*steps, "custom_preprocessor"), f"Ray {RAY} has none")
    made = restating.value(told, *steps)
    if told.get("custom_model") and "custom_model" not in made:
        made["custom_model"] = str(getattr(told["custom_model"], "name", "a model of the user's"))
    return made


def _vectorize_mode(restating: Restating, value: Any, steps: Steps) -> Any:
    made = restating.value(value, *steps)
    return made.lower() if isinstance(made, str) else made


def _end_of_support(restating: Restating, value: Any, steps: Steps) -> Any:
    # Ray leaves -1 out when it copies a configuration: it is its mark of what is deprecated.
    return math.nextafter(-1.0, 0.0) if value == -1 else value


def _framework(restating: Restating, value: Any, steps: Steps) -> Any:
    return {"tfe": "tf2"}.get(value, value)


def _overrides(restating: Restating, value: Any, steps: Steps) -> Any:
    return None if value is None else rebuild(value, restating, *steps)


def _policies(restating: Restating, value: Any, steps: Steps) -> Any:
    if not isinstance(value, dict):
        return restating.value(value, *steps)
    return {key: _policy_spec(restating, spec, (*steps, key)) for key, spec in value.items()}


def _policy_spec(restating: Restating, stored: Any, steps: Steps) -> tuple[Any, ...]:
    told = spec_fields(stored)
    made = {name: restating.value(told.get(name), *steps, name) for name in POLICY_SPEC[:-1]}
    config = _overrides(restating, told.get("config"), (*steps, "config"))
    return *(None if item is LOST else item for item in made.values()), config


def _mapping(restating: Restating, value: Any, steps: Steps) -> Any:
    # RLlib's own needs no mention; Ray 2.0 to 2.3 pickled its code.
    silent = Restating(restating.file)
    found = _function(silent, value, steps)
    is_default = "ray.rllib.algorithms" in str(getattr(found, "name", silent.notes))
    if found is None or is_default:
        return LOST
    restating.notes += silent.notes
    return found


_VALUES: dict[str, Callable[[Restating, Any, Steps], Any]] = {
    "env": _environment,
    "callbacks_class": _class_or_name,
    "exploration_config": _with_type,
    "replay_buffer_config": _replay_buffer,
    "model": _model,
    "framework_str": _framework,
    **dict.fromkeys(MAY_BE_MINUS_ONE, _end_of_support),
    "gym_env_vectorize_mode": _vectorize_mode,
    "evaluation_config": _overrides,
    "policies": _policies,
    "policies_to_train": _function,
    "policy_mapping_fn": _mapping,
}


def _configuration(restating: Restating, value: Opaque, steps: Steps) -> Call:
    cls = Reference(moved(f"{value.module}:{value.name}"))
    told = rebuild(value, Restating(restating.file), *steps)
    return Call(Reference(f"{ANY_CONFIG}.from_state"), ({"class": cls, **told},))


OBJECTS.update({CONFIG: _configuration, "PolicySpec": _policy_spec})
