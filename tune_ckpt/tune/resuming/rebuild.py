"""Trials made again from their folders: where Tune's own record of them is lost or unreadable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.tune.search.sample import Domain

from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.noted_configs import lost_objects, with_types
from tune_ckpt.tune.resuming.past import PastTrial
from tune_ckpt.tune.resuming.plain import Plain
from tune_ckpt.tune.statuses import ERROR, PENDING, TERMINATED


@dataclass(frozen=True)
class TrialMaker:
    """Makes trials of folders.

    Attributes:
        trainable: The trainable's name.
        filesystem: The pyarrow filesystem that holds the sweep.
        experiment: The sweep's folder within it.
        stop: The criterion at which trials stop.
        checkpoint_config: When and how trials save.
        max_failures: How often a trial may fail.
        space: The search space, for what no folder can tell, such as functions.
        plain: What else the sweep's files tell of its trials.
    """

    trainable: str
    filesystem: Any
    experiment: str
    stop: Mapping[str, float]
    checkpoint_config: Any
    max_failures: int = 0
    space: Mapping[str, Any] = field(default_factory=dict)
    plain: Plain = field(default_factory=Plain)

    def make(self, past: PastTrial) -> Any:
        """Return the trial of a folder, with its results, and its status as they tell it.

        One whose config is lost counts as finished: nobody can go on with it.
        """
        facts = self.plain.facts.get(past.name, {})
        last = past.results[-1] if past.results else {}
        config = _as_in(dict(self.space), self.config(past) or {})
        parent, _, name = self.experiment.rpartition("/")
        storage = private.storage(parent, name, past.name, self.filesystem)
        trial = private.new_trial(
            self.trainable,
            config=config,
            trial_id=facts.get("trial_id") or last.get("trial_id") or past.trial_id,
            storage=storage,
            evaluated_params=facts.get("evaluated_params") or {},
            experiment_tag=facts.get("experiment_tag") or last.get("experiment_tag", ""),
            stopping_criterion=dict(facts.get("stopping_criterion") or self.stop),
            checkpoint_config=self.checkpoint_config,
            max_failures=self.max_failures,
        )
        trial.relative_logdir = past.name
        for result in past.results:
            trial.update_last_result(dict(result))
        is_known = self.config(past) is not None
        trial.set_status(_status(past, facts.get("status")) if is_known else TERMINATED)
        self._note_checkpoints(trial, past)
        return trial

    def config(self, past: PastTrial) -> dict[str, Any] | None:
        """Return a trial's config, text in it for objects; None where it is recorded nowhere."""
        if past.config is None:
            return self.plain.facts.get(past.name, {}).get("config")
        typed: dict[str, Any] = with_types(past.config, self.plain.configs.get(past.name))
        return typed

    def lost_objects(self, trial: Any) -> Iterator[str]:
        """Yield the names in a trial's config that neither its files nor the space can tell."""
        noted = self.plain.configs.get(str(trial.relative_logdir))
        return lost_objects(trial.config, noted)

    def _note_checkpoints(self, trial: Any, past: PastTrial) -> None:
        """Tell a trial of the checkpoints in its folder, of whose metrics it is known.

        One that it took over from another trial is newer than those that were noted by then.
        """
        recorded = self.plain.pairs.get(past.name, {})
        taken = self.plain.taken.get(past.name, {})
        for name in reversed(past.checkpoints()):
            metrics = past.metrics_of(name, recorded.get(name))
            if metrics is not None:
                path = f"{trial.storage.trial_fs_path}/{name}"
                private.set_latest(trial, (path, metrics), self.filesystem)
                taken = taken if name <= max(recorded, default="") else {}
        for path, found in taken.items():
            private.set_latest(trial, (f"{self.experiment}/{path}", dict(found)), self.filesystem)


def _status(past: PastTrial, noted: str | None) -> str:
    # A function that returns, and a trial that a scheduler stops, log no result that says so.
    if noted == TERMINATED or (past.results and past.results[-1].get("done")):
        return TERMINATED
    return ERROR if noted == ERROR or past.store.exists("error.txt") else PENDING


def _as_in(space: Any, value: Any) -> Any:
    """Return a config, read from JSON, with the objects that a search space has in their places.

    JSON holds text for them: a constant is the space's, and a choice is the option of that text.
    """
    if isinstance(space, Domain):
        return _chosen(getattr(space, "categories", ()), value)
    if isinstance(space, dict) and set(space) == {"grid_search"}:
        return _chosen(space["grid_search"], value)
    if isinstance(space, dict) and isinstance(value, dict):
        return {name: _as_in(space.get(name), item) for name, item in value.items()}
    return value if isinstance(space, _PLAIN) else space


_PLAIN: Any = str | int | float | bool | list | tuple | None


def _chosen(options: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return next((option for option in options if str(option) == value), value)


def plain_stop(run_config: tune.RunConfig) -> Mapping[str, float]:
    """Return the criterion at which a sweep's trials stop, where it is one of metrics."""
    return run_config.stop if isinstance(run_config.stop, dict) else {}
