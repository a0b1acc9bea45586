"""A scheduler's whole state, kept with the sweep's and put back exactly when it is resumed.

Ray forgets it: no scheduler's ``save`` is ever called. `CheckpointCallback` carries a snapshot in
its own state, which Tune writes at the same moment as the trials', so that both agree. Trials and
checkpoints stand in the snapshot by id and by their path below the sweep's folder, so it survives
that the sweep is moved.

A trial whose newest checkpoint is older than its last result will report some results again. The
scheduler knows them already: it is not told twice, and its decision of then is repeated.
"""

from __future__ import annotations

import io
import pickle
import random
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import numpy as np
from ray.tune import Checkpoint
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_ckpt.tune import private

_ENDED = ("TERMINATED", "ERROR")
_PAUSING = (TrialScheduler.PAUSE, TrialScheduler.NOOP)


@dataclass
class Snapshot:
    """What is kept of a scheduler, and what it needs to go on as if nothing had happened.

    Attributes:
        cls: The scheduler's class, as ``module:QualName``.
        state: Its attributes.
        seen: The last iteration of each trial that it was told of, and its decision.
        statuses: The trials' statuses, in their order.
        generators: The states of Python's and NumPy's global random generators; None to leave them.
    """

    cls: str
    state: dict[str, Any]
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    generators: tuple[Any, Any] | None = None

    @classmethod
    def of(cls, scheduler: TrialScheduler, trials: list[Any]) -> Snapshot:
        """Return a snapshot; it refers to the scheduler's own objects until it is packed."""
        statuses = {trial.trial_id: trial.status for trial in trials}
        generators = random.getstate(), np.random.get_state()
        return cls(class_name(scheduler), vars(scheduler), {}, statuses, generators)

    def pack(self, experiment: str) -> bytes:
        """Return it as bytes.

        Args:
            experiment: The sweep's folder, relative to which checkpoints are noted.
        """
        buffer = io.BytesIO()
        _Pickler(buffer, experiment).dump(vars(self))
        return buffer.getvalue()

    @classmethod
    def unpack(cls, data: bytes, trials: list[Any], experiment: str, filesystem: Any) -> Snapshot:
        """Return what was packed, with these trials in it; runs what the pickle names."""
        loader = _Unpickler(io.BytesIO(data), trials, experiment, filesystem)
        return cls(**loader.load())


def class_name(scheduler: Any) -> str:
    """Return a scheduler's class as ``module:QualName``."""
    return f"{type(scheduler).__module__}:{type(scheduler).__qualname__}"


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: Any, experiment: str) -> None:
        super().__init__(file)
        self._experiment = experiment

    def persistent_id(self, value: Any) -> Any:
        """Return by what a trial or checkpoint is named in place of itself."""
        if private.is_future(value):
            value = private.resolved(value)
            if value is None:  # not saved yet: then it cannot be gone on from either
                return "nothing", None
        if isinstance(value, Checkpoint):
            return "checkpoint", value.path.removeprefix(f"{self._experiment}/")
        return ("trial", value.trial_id) if isinstance(value, Trial) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, trials: list[Any], experiment: str, filesystem: Any) -> None:
        super().__init__(file)
        self._trials = {trial.trial_id: trial for trial in trials}
        self._experiment = experiment
        self._filesystem = filesystem

    def persistent_load(self, reference: Any) -> Any:
        """Return the trial or checkpoint of that name."""
        kind, name = reference
        if kind == "trial":
            return self._trials[name]
        if kind == "nothing":
            return None
        path = name if name.startswith("/") else f"{self._experiment}/{name}"
        return Checkpoint(path, self._filesystem)


class Remembering(TrialScheduler):
    """A scheduler that remembers what it decided last of each trial.

    Args:
        scheduler: The scheduler, which does the work.
    """

    def __init__(self, scheduler: TrialScheduler) -> None:
        self.scheduler = scheduler
        self.seen: dict[str, tuple[int, str]] = {}
        self.repeats: dict[str, tuple[int, str]] = {}
        self.under_way: list[Any] = []  # trials that ran when the sweep was interrupted

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Tell the scheduler of a result, unless it knows it already."""
        iteration = result.get("training_iteration", 0)
        known, decision = self.repeats.get(trial.trial_id, (0, ""))
        if iteration < known:
            return str(TrialScheduler.CONTINUE)
        if iteration == known:
            del self.repeats[trial.trial_id]
            return decision
        self.repeats.pop(trial.trial_id, None)
        decision = self.scheduler.on_trial_result(tune_controller, trial, result)
        self.seen[trial.trial_id] = (iteration, decision)
        return decision

    @property
    def metric(self) -> Any:
        """The metric that results must have."""
        return self.scheduler.metric

    @property
    def supports_buffered_results(self) -> bool:
        """Whether several results may come at once."""
        return bool(self.scheduler.supports_buffered_results)

    def set_search_properties(self, *args: Any, **spec: Any) -> bool:
        """Pass the metric on."""
        return bool(self.scheduler.set_search_properties(*args, **spec))

    def on_trial_add(self, *args: Any, **kwargs: Any) -> None:
        """Pass a new trial on."""
        self.scheduler.on_trial_add(*args, **kwargs)

    def on_trial_error(self, *args: Any, **kwargs: Any) -> None:
        """Pass a failure on."""
        self.scheduler.on_trial_error(*args, **kwargs)

    def on_trial_complete(self, *args: Any, **kwargs: Any) -> None:
        """Pass an end on."""
        self.scheduler.on_trial_complete(*args, **kwargs)

    def on_trial_remove(self, *args: Any, **kwargs: Any) -> None:
        """Pass a removal on."""
        self.scheduler.on_trial_remove(*args, **kwargs)

    def choose_trial_to_run(self, *args: Any, **kwargs: Any) -> Any:
        """Return the scheduler's choice, once all run again that did."""
        self.under_way = [trial for trial in self.under_way if trial.status == Trial.PENDING]
        if self.under_way:
            return self.under_way[0]
        return self.scheduler.choose_trial_to_run(*args, **kwargs)

    def debug_string(self) -> str:
        """Return the scheduler's own words."""
        return str(self.scheduler.debug_string())


@dataclass
class SchedulerMemory:
    """Holds on to a running sweep's scheduler; part of `CheckpointCallback`.

    Attributes:
        packed: The snapshot that shall be put back when the sweep starts.
        limit: How many trials the searcher may have under way; None for what it was saved with.
        stop: Criteria at which trials shall stop that are still to be made.
    """

    packed: bytes | None = None
    limit: int | None = None
    stop: dict[str, float] = field(default_factory=dict)
    _controller: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_controller": None}  # of this process only

    def attach(self) -> None:
        """Take hold of the scheduler of the sweep that is being set up, and put a snapshot back."""
        controller = self._controller = private.controller()
        if controller is None:
            return
        remembering = Remembering(private.scheduler(controller))
        private.replace_scheduler(controller, remembering)
        if self.packed is not None and private.trials(controller):
            put_back(self.packed, controller, remembering)
        if self.stop:
            private.extend_stop(controller, self.stop)
        if self.limit is not None:
            private.limit_concurrency(controller, self.limit)

    def snapshot(self) -> bytes | None:
        """Return the scheduler's present state, packed; None outside of a sweep."""
        trials = private.trials(self._controller) if self._controller is not None else []
        if not trials:
            return None
        remembering = private.scheduler(self._controller)
        found = Snapshot.of(remembering.scheduler, trials)
        found.seen = {**remembering.seen, **remembering.repeats}
        return found.pack(private.experiment_folder(trials[0])[0])


def put_back(packed: bytes, controller: Any, remembering: Remembering) -> None:
    """Give a controller's scheduler the state of a snapshot of the same trials."""
    trials = private.trials(controller)
    folder, _ = private.experiment_folder(trials[0])
    filesystem = trials[0].storage.storage_filesystem
    snapshot = Snapshot.unpack(packed, trials, folder, filesystem)
    vars(remembering.scheduler).update(snapshot.state)
    remembering.seen = dict(snapshot.seen)
    for trial in trials:
        _put_trial_back(trial, snapshot, controller, remembering)
        private.keep_replayed_config(remembering.scheduler, trial)
    private.reorder(controller, list(snapshot.statuses), remembering.under_way)
    if snapshot.generators is not None:
        random.setstate(snapshot.generators[0])
        np.random.set_state(snapshot.generators[1])


def _put_trial_back(
    trial: Any, snapshot: Snapshot, controller: Any, remembering: Remembering
) -> None:
    status = snapshot.statuses.get(trial.trial_id)
    if trial.status in _ENDED:
        return
    if status is None or status in _ENDED:  # it goes on after its end: a new one to the scheduler
        remembering.on_trial_add(private.wrapped(controller), trial)
        return
    iteration, decision = snapshot.seen.get(trial.trial_id, (0, ""))
    latest = private.latest(trial)
    at = latest.metrics.get("training_iteration", 0) if latest else 0
    if at < iteration and not private.exploits(trial):
        remembering.repeats[trial.trial_id] = (iteration, decision)
    elif status == "PAUSED" or (status == "PENDING" and decision in _PAUSING):
        private.pause(controller, trial)  # pending: about to be started again
    if status == "RUNNING":
        remembering.under_way.append(trial)
