"""What a sweep's files tell without being unpickled: settings, trials, checkpoints' metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ray import tune

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.formats import pickle
from tune_ckpt.sweep.experiment_state import ExperimentState
from tune_ckpt.sweep.metrics import number
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.sweep.result_log import Pairs
from tune_ckpt.tree.storage.store import Store
from tune_ckpt.tune.resuming.noted_configs import decoded
from tune_ckpt.tune.resuming.state_files import TUNER

# What is taken over, where it is of the type that it should be.
_TUNE_CONFIG = {
    "metric": str,
    "mode": str,
    "num_samples": int,
    "max_concurrent_trials": int,
    "reuse_actors": bool,
}
_CHECKPOINT_CONFIG = {
    "num_to_keep": int,
    "checkpoint_frequency": int,
    "checkpoint_at_end": bool,
    "checkpoint_score_attribute": str,
    "checkpoint_score_order": str,
}
_FAILURE_CONFIG = {"max_failures": int, "fail_fast": bool | str}
_RUN_CONFIG = {"verbose": int}
_FACTS = {
    "trial_id": str,
    "experiment_tag": str,
    "status": str,
    "evaluated_params": dict,
    "stopping_criterion": dict,
}


@dataclass
class Plain:
    """What a sweep's files tell without being unpickled.

    Attributes:
        settings: Of the Tuner's configs: those that are plain values.
        facts: Of each trial, by its folder's name; its config where no object is in it.
        configs: Of each trial the config as it was noted, objects and all, likewise.
        pairs: Of each trial's checkpoints the metrics, likewise.
        taken: Of each trial the checkpoint that it took over from another, with its metrics, by its
            path below the sweep's folder.
    """

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pairs: dict[str, Pairs] = field(default_factory=dict)
    taken: dict[str, Pairs] = field(default_factory=dict)

    @classmethod
    def read(cls, store: Store, document: Mapping[str, Any] | None) -> Plain:
        """Read the Tuner's and the trials' files inertly; what cannot be read is left out."""
        plain = cls.without_pairs(store, document)
        state = ExperimentState(store, Notes())
        plain.pairs = {name: state.pairs(name) for name in plain.facts}
        plain.taken = {name: state.taken_over(name) for name in plain.facts}
        return plain

    @classmethod
    def without_pairs(cls, store: Store, document: Mapping[str, Any] | None) -> Plain:
        """Read the same, but for the checkpoints' metrics, which take the time."""
        plain = cls()
        if store.exists(TUNER):
            with suppress(TuneCkptError):
                found = pickle.loads_inert(store.read_bytes(TUNER), file=store.path(TUNER))
                plain.settings = _settings(found)
        for facts in trials_of(document or {}):
            known, config = _taken(facts, _FACTS), decoded(facts.get("config"))
            plain.facts[facts["relative_logdir"]] = known
            if isinstance(config, dict):
                plain.configs[facts["relative_logdir"]] = config
                known |= {} if pickle.holds_opaque(config) else {"config": config}
        return plain

    @property
    def trials(self) -> list[str]:
        """The folders' names of the trials whose configs are known, begun or not."""
        return [name for name, facts in self.facts.items() if "config" in facts]

    @property
    def stop(self) -> dict[str, Any] | None:
        """Where trials stop, as they say or else as the Tuner does.

        ``{}`` where it is known that they have no criterion; None where no file tells.
        """
        noted = _highest(facts.get("stopping_criterion", {}) for facts in self.facts.values())
        settings = self.settings.get("_run_config", {})
        if noted or settings.get("stop", ...) is None:
            return noted
        told = _taken(settings, {"stop": dict}).get("stop")
        return None if told is None else _highest([told])

    @property
    def saves_never(self) -> bool:
        """Whether the Tuner says that trials save when they end, if at all."""
        found = self.settings.get("_run_config", {}).get("checkpoint_config")
        told = _taken(_state(found), _CHECKPOINT_CONFIG)
        saves = told.get("checkpoint_frequency") or told.get("checkpoint_at_end")
        return bool(_state(found)) and not saves

    def tune_config(self) -> tune.TuneConfig:
        """Return what is known of the ``TuneConfig``; the scheduler and the searcher are not."""
        return tune.TuneConfig(**_taken(self.settings.get("_tune_config"), _TUNE_CONFIG))

    def run_config(self) -> tune.RunConfig:
        """Return what is known of the ``RunConfig``; the callbacks are not."""
        found = self.settings.get("_run_config", {})
        checkpoints = _taken(_state(found.get("checkpoint_config")), _CHECKPOINT_CONFIG)
        failures = _taken(_state(found.get("failure_config")), _FAILURE_CONFIG)
        return tune.RunConfig(
            checkpoint_config=tune.CheckpointConfig(**checkpoints),
            failure_config=tune.FailureConfig(**failures),
            stop=self.stop or None,
            **_taken(found, _RUN_CONFIG),
        )


def _settings(found: Any) -> dict[str, dict[str, Any]]:
    items = found.items() if isinstance(found, dict) else ()
    return {name: _state(value) for name, value in items if _state(value)}


def _state(value: Any) -> dict[str, Any]:
    state = value.state if isinstance(value, pickle.Opaque) else None
    return state if isinstance(state, dict) else {}


def _taken(values: Mapping[str, Any] | None, types: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _without_numpy((values or {}).get(name)) for name in types}
    return {name: found[name] for name, of in types.items() if _is_plain(found[name], of)}


def _highest(criteria: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return of several criteria the highest number for each name."""
    found: dict[str, Any] = {}
    for name, value in (pair for criterion in criteria for pair in criterion.items()):
        if number(value) is not None and (name not in found or value > found[name]):
            found[name] = value
    return found


def _without_numpy(value: Any) -> Any:
    """Return a value with Python's numbers in the place of NumPy's, such as in a criterion."""
    if isinstance(value, dict):
        return {name: _without_numpy(item) for name, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _is_plain(value: Any, of: Any) -> bool:
    """Say whether a value is of a type, and no pickle is in it, as Tune's JSON may have."""
    try:
        return isinstance(value, of) and "CLOUDPICKLE_FALLBACK" not in json.dumps(value)
    except TypeError:  # an object that only its pickle holds
        return False


def trials_of(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what an experiment state tells of its trials, those left out that are damaged."""
    listed = document.get("trial_data")
    for entry in listed if isinstance(listed, list) else ():
        with suppress(ValueError, TypeError, RecursionError, LookupError):
            facts = json.loads(entry[0] if isinstance(entry, list) else entry)
            if isinstance(facts, dict) and isinstance(facts.get("relative_logdir"), str):
                yield facts
