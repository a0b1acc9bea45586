"""States of the old API stack as msgpack, in the words that Ray 2.60 reads there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import Fault
from tune_ckpt.formats.parts import label
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.rllib.converting.filters import NOT_NORMALISED
from tune_ckpt.rllib.converting.moves import class_name
from tune_ckpt.rllib.converting.portable import NOT_SERIALIZABLE, Carrying
from tune_ckpt.rllib.reading.generations import ALGORITHM, OLD_VERSION, POLICY, POLICY_SPEC, RAY
from tune_ckpt.rllib.reading.plain import fields

_REPLACED = {"policy_spec", "worker", "config", "checkpoint_version"}


def _rest(state: Any, carrying: Carrying) -> dict[str, Any]:
    kept = {key: item for key, item in (fields(state) or {}).items() if key not in _REPLACED}
    made: dict[str, Any] = carrying.state(kept)
    return {**made, "checkpoint_version": OLD_VERSION}


def _old_policy(carrying: Carrying, state: Any) -> dict[str, Any]:
    spec = dict(fields((fields(state) or {}).get("policy_spec")) or {})
    told = carrying.state({**spec, "config": None}, "policy_spec")
    told["config"] = _old_config(spec.get("config"), carrying, "policy_spec", "config")
    if told["config"] and "max_seq_len" not in (fields(told["config"].get("model")) or {}):
        # Without one RLlib keeps the configuration that it built the policy of.
        told["config"] = {}
        carrying.lost.append(Fault("policy_spec/config", _PARTIAL))
    return {**_rest(state, carrying), "policy_spec": told}


def _old_algorithm(carrying: Carrying, state: Any) -> dict[str, Any]:
    told = fields(state) or {}
    worker = dict(fields(told.get("worker")) or {})
    config = _old_config(told.get("config"), carrying, "config")
    if class_name(told.get("algorithm_class")) == "DQN":
        config = _with_our_buffer(config, carrying)
    if config.get("env") is None:
        carrying.lost.append(Fault("config/env", _NO_ENV))
    for name in fields(worker.get("filters")) or {}:
        carrying.lost.append(Fault(f"worker/filters/{label(name)}", NOT_NORMALISED))
    if worker.get("filters"):
        # RLlib wants the workers' filters to be objects; the policies' connectors have them, too.
        config = {**config, "observation_filter": "NoFilter"}
    if worker:  # what RLlib writes there in any case
        functions = dict.fromkeys(("policy_mapping_fn", "is_policy_to_train"), NOT_SERIALIZABLE)
        worker |= {"filters": {}, **functions}
    made = {**_rest(state, carrying), "config": config, "worker": carrying.state(worker, "worker")}
    return {**made, "counters": {**_NO_COUNTS, **(made.get("counters") or {})}}


_PARTIAL = "it is not whole, so RLlib restores this policy with its Algorithm only"
_NO_ENV = f"there is none, and Ray {RAY} takes the spaces from it: pass one in config="

# RLlib counts in a dict that has zero for what is missing; msgpack's dicts have not.
_NO_COUNTS = {
    **{
        f"num_{unit}_steps_{what}": 0
        for unit in ("env", "agent")
        for what in ("sampled", "trained")
    },
    **dict.fromkeys(("last_target_update_ts", "num_target_updates", "num_weight_broadcasts"), 0),
    **dict.fromkeys(("num_samples_added_to_queue", "num_times_learner_queue_full"), 0),
    "mean_num_training_step_calls_since_last_synch_worker_weights": 0,
}


def _old_config(config: Any, carrying: Carrying, *steps: str) -> dict[str, Any]:
    told = dict(fields(config) or {})
    told.pop("stats_cls_lookup", None)  # classes of RLlib's own, which it finds again
    if "callbacks_class" in told:
        told["callbacks"] = told.pop("callbacks_class")
    if "replay_buffer_config" in told:
        told["replay_buffer_config"] = _with_named_buffer(told["replay_buffer_config"])
    told = _without_classes(told, carrying, steps)
    made: dict[str, Any] = carrying.state(told, *steps)
    if isinstance(made.get("policies"), dict):
        # RLlib reads no spaces here; it takes them from the environment.
        specs = made["policies"].items()
        made["policies"] = {k: _without_spaces(spec) for k, spec in specs}
    if len(made.get("policies") or ()) > 1:
        made.setdefault("policy_mapping_fn", NOT_SERIALIZABLE)
    return made


def _with_named_buffer(config: Any) -> Any:
    buffer = fields(config)
    kind = (buffer or {}).get("type")
    if not isinstance(kind, Opaque) or not kind.args:
        return config
    name = next(arg for arg in kind.args if isinstance(arg, str))  # what `buffer_class` is called
    return {**(buffer or {}), "type": name}


def _with_our_buffer(config: dict[str, Any], carrying: Carrying) -> dict[str, Any]:
    buffer = config.get("replay_buffer_config") or {}
    package, _, name = str(buffer.get("type", "")).rpartition(".")
    if not name or (package and not package.startswith("ray.rllib.")):
        return config
    reason = (
        f"Ray {RAY} builds no {name} for DQN by itself; tune_ckpt does, and must be installed "
        "where the checkpoint is loaded"
    )
    carrying.lost.append(Fault("config/replay_buffer_config/type", reason))
    return {**config, "replay_buffer_config": {**buffer, "type": f"{_FORMER}.{name}"}}


_FORMER = "tune_ckpt.rllib.former"


def _without_classes(
    told: dict[str, Any], carrying: Carrying, steps: tuple[str, ...]
) -> dict[str, Any]:
    """Return settings without classes that RLlib would take for text; its own defaults stand in."""
    classes = {key: item for key, item in told.items() if key not in _READ_BY_NAME}
    classes = {key: item for key, item in classes.items() if _is_class(item)}
    for key, cls in classes.items():
        if class_name(cls) not in _DEFAULTS:
            carrying.mark((*steps, key), f"the class {cls.module}:{cls.name}")
    return {key: item for key, item in told.items() if key not in classes}


def _is_class(value: Any) -> bool:
    name = value.name.rpartition(".")[2] if isinstance(value, Opaque) else ""
    return bool(name) and value.args is None and name[0].isupper() and not name.isupper()


_READ_BY_NAME = ("class", "env", "callbacks", "callbacks_class", "sample_collector", "algo_class")
_DEFAULTS = ("OfflinePreLearner", "SimpleListCollector")


def _without_spaces(spec: Any) -> Any:
    if not isinstance(spec, list) or len(spec) != len(POLICY_SPEC):
        return spec
    return [spec[0], None, None, spec[3]]


STATES: dict[str, Callable[[Carrying, Any], Any]] = {POLICY: _old_policy, ALGORITHM: _old_algorithm}
