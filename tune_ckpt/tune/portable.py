"""A sweep's own pickles replaced: a new Tuner for its folder, and what they tell as plain data."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.tune.search.sample import Domain

from tune_ckpt.errors import Fault, TuneCkptError
from tune_ckpt.formats import pickle
from tune_ckpt.tree.store import Store
from tune_ckpt.tune.aside import set_aside
from tune_ckpt.tune.state_files import TUNER, StateFiles

_REASON = "it is a pickle that need not be readable here (portable=True)"


@dataclass
class Plain:
    """What a sweep's files tell without being unpickled.

    Attributes:
        settings: Of the Tuner's configs: those that are plain values.
        facts: Of each trial, by its folder's name.
    """

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, store: Store, document: Mapping[str, Any] | None) -> Plain:
        """Read the Tuner's and the trials' files inertly; what cannot be read is left out."""
        plain = cls()
        if store.exists(TUNER):
            with suppress(TuneCkptError):
                found = pickle.loads_inert(store.read_bytes(TUNER), file=store.path(TUNER))
                plain.settings = _settings(found)
        for entry in (document or {}).get("trial_data", ()):
            facts = json.loads(entry[0] if isinstance(entry, list) else entry)
            plain.facts[facts.get("relative_logdir")] = {k: _or_none(v) for k, v in facts.items()}
        return plain

    def tune_config(self) -> tune.TuneConfig:
        """Return what is known of the ``TuneConfig``; the scheduler and the searcher are not."""
        names = ("metric", "mode", "num_samples", "max_concurrent_trials", "reuse_actors")
        return tune.TuneConfig(**_taken(self.settings.get("_tune_config"), names))

    def run_config(self) -> tune.RunConfig:
        """Return what is known of the ``RunConfig``; the callbacks are not."""
        found = self.settings.get("_run_config", {})
        saving = ("num_to_keep", "checkpoint_frequency", "checkpoint_at_end")
        scores = ("checkpoint_score_attribute", "checkpoint_score_order")
        checkpoints = _taken(_state(found.get("checkpoint_config")), (*saving, *scores))
        failures = _taken(_state(found.get("failure_config")), ("max_failures", "fail_fast"))
        return tune.RunConfig(
            stop=found["stop"] if isinstance(found.get("stop"), dict) else None,
            checkpoint_config=tune.CheckpointConfig(**checkpoints),
            failure_config=tune.FailureConfig(**failures),
            **_taken(found, ("verbose",)),
        )


def _settings(found: Any) -> dict[str, dict[str, Any]]:
    items = found.items() if isinstance(found, dict) else ()
    return {name: _state(value) for name, value in items if _state(value)}


def _state(value: Any) -> dict[str, Any]:
    state = value.state if isinstance(value, pickle.Opaque) else None
    return state if isinstance(state, dict) else {}


def _taken(values: Mapping[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: (values or {}).get(name) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, _PLAIN)}


def _or_none(value: Any) -> Any:
    """Return a value of Tune's JSON, or None where a pickle is in it."""
    return None if "CLOUDPICKLE_FALLBACK" in json.dumps(value) else value


def as_in(space: Any, value: Any) -> Any:
    """Return a config, read from JSON, with the objects that a search space has in their places.

    JSON holds text for them: a constant is the space's, and a choice is the option of that text.
    """
    if isinstance(space, Domain):
        return _chosen(getattr(space, "categories", ()), value)
    if isinstance(space, dict) and set(space) == {"grid_search"}:
        return _chosen(space["grid_search"], value)
    if isinstance(space, dict) and isinstance(value, dict):
        return {name: as_in(space.get(name), item) for name, item in value.items()}
    return value if isinstance(space, _PLAIN | list | tuple | None) else space


_PLAIN = str | int | float | bool


def _chosen(options: Any, value: Any) -> Any:
    return next((option for option in options if option is value or str(option) == value), value)


def new_tuner_for(
    files: StateFiles,
    trainable: Any,
    param_space: dict[str, Any] | None,
    tune_config: tune.TuneConfig | None,
    run_config: tune.RunConfig | None,
    place: tuple[str, Any],
) -> Plain:
    """Set a sweep's pickles aside, write a new Tuner's, and return what they told.

    Args:
        files: The sweep's files.
        trainable: What the sweep ran.
        param_space: Its search space.
        tune_config: Its scheduler, searcher and the like; by default what is plain of the old one.
        run_config: Its stop criterion, callbacks and the like; likewise.
        place: The sweep's folder, and the pyarrow filesystem (None for the local disk).
    """
    plain = Plain.read(files.store, files.document)
    for name in [TUNER, *files.names.values()]:
        if files.store.exists(name):
            files.faults.append(Fault(set_aside(files.store, name), _REASON))
    files.document, files.names = None, {}
    run_config = copy.copy(run_config or plain.run_config())
    run_config.storage_path, _, run_config.name = place[0].rpartition("/")
    run_config.storage_filesystem = place[1]
    tune.Tuner(
        trainable,
        param_space=param_space or {},
        tune_config=tune_config or plain.tune_config(),
        run_config=run_config,
    )
    return plain
