"""Trials made again from their folders: where Tune's own record of them is lost or unreadable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import tune

from tune_ckpt.tree import pickled_code
from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.past import PastTrial
from tune_ckpt.tune.resuming.plain import Plain
from tune_ckpt.tune.resuming.portable import as_in


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
        config = as_in(dict(self.space), self.config(past) or {})
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
        trial.set_status(_status(past, facts.get("status")) if is_known else "TERMINATED")
        self._note_checkpoints(trial, past)
        return trial

    def config(self, past: PastTrial) -> dict[str, Any] | None:
        """Return a trial's config as plain data; None where it is recorded nowhere."""
        noted = self.plain.facts.get(past.name, {}).get("config")
        return noted if past.config is None else past.config

    def _note_checkpoints(self, trial: Any, past: PastTrial) -> None:
        """Tell a trial of the checkpoints in its folder, of whose metrics it is known."""
        recorded = self.plain.pairs.get(past.name, {})
        for name in reversed(past.checkpoints()):
            metrics = past.metrics_of(name, recorded.get(name))
            if metrics is not None:
                path = f"{trial.storage.trial_fs_path}/{name}"
                private.set_latest(trial, (path, metrics), self.filesystem)


def _status(past: PastTrial, noted: str | None) -> str:
    # A function that returns, and a trial that a scheduler stops, log no result that says so.
    if noted == "TERMINATED" or (past.results and past.results[-1].get("done")):
        return "TERMINATED"
    return "ERROR" if noted == "ERROR" or past.store.exists("error.txt") else "PENDING"


def made_by(pasts: list[PastTrial]) -> set[str]:
    """Return the Python versions (``3.11``) of the trials' newest checkpoints, where they tell."""
    written = (pickled_code.minor_of(past.python()) for past in pasts)
    return {version for version in written if version}


def code_of_another_python(pasts: list[PastTrial], names: tuple[str, ...]) -> str | None:
    """Say why a pickle must not be used here: it holds code of another Python, which would crash.

    Args:
        pasts: The trials' folders.
        names: What the pickle would import.
    """
    others = made_by(pasts)
    # Where some trial has gone on here already, the pickles were made again here, too.
    if not others or pickled_code.here() in others or not pickled_code.holds_code(names):
        return None
    return pickled_code.told(others)


def plain_stop(run_config: tune.RunConfig) -> Mapping[str, float]:
    """Return the criterion at which a sweep's trials stop, where it is one of metrics."""
    return run_config.stop if isinstance(run_config.stop, dict) else {}
