"""A scheduler's whole state, kept with the sweep's and put back exactly when it is resumed.

Ray forgets it: no scheduler's ``save`` is ever called. `CheckpointCallback` carries a snapshot in
its own state, which Tune writes at the same moment as the trials', so that both agree.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ray.tune.schedulers import TrialScheduler

from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.remembering import RememberingScheduler
from tune_ckpt.tune.resuming.search_memory import SearchMemory
from tune_ckpt.tune.resuming.snapshot import Snapshot
from tune_ckpt.tune.statuses import ENDED, PAUSED, PENDING, RUNNING

logger = logging.getLogger(__name__)

_PAUSING = (TrialScheduler.PAUSE, TrialScheduler.NOOP)


@dataclass
class SchedulerMemory:
    """Holds on to a running sweep's scheduler; part of `CheckpointCallback`.

    Attributes:
        packed: The snapshot that shall be put back when the sweep starts.
        resources: What trials need that a scheduler has given more or less, by their ids: Ray
            begins with what the trainable needs.
        configs: The trials' configs, by their ids: Ray changes them where it has the search space.
        search: What the searcher is to know when the sweep starts.
    """

    packed: bytes | None = None
    resources: dict[str, Any] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    search: SearchMemory = field(default_factory=SearchMemory)
    _controller: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_controller": None}  # of this process only

    def attach(self) -> None:
        """Take hold of the scheduler of the sweep that is being set up, and put a snapshot back.

        Where another callback of the sweep has done so, all is done.
        """
        controller = self._controller = private.controller()
        if controller is None or isinstance(private.scheduler(controller), RememberingScheduler):
            return
        remembering = RememberingScheduler(private.scheduler(controller))
        private.replace_scheduler(controller, remembering)
        for trial in private.trials(controller):
            if trial.trial_id in self.configs:
                private.keep_config(trial, self.configs[trial.trial_id])
            if trial.trial_id in self.resources and trial.status not in ENDED:
                private.set_resources(controller, trial, self.resources[trial.trial_id])
        if self.packed is not None and private.trials(controller):
            put_back(self.packed, controller, remembering)
        self.search.put_back(controller)

    def snapshot(self) -> bytes | None:
        """Return the scheduler's present state, packed.

        None outside of a sweep, and where the scheduler holds what cannot be pickled: that is
        logged.
        """
        trials = private.trials(self._controller) if self._controller is not None else []
        try:
            return self._packed(trials) if trials else None
        except Exception:
            logger.exception("tune_ckpt: the scheduler's state is not kept; the sweep goes on")
            return None

    def _packed(self, trials: list[Any]) -> bytes:
        remembering = private.scheduler(self._controller)
        found = Snapshot.of(remembering.scheduler, trials)
        found.seen = {**remembering.seen, **remembering.repeats}
        return found.pack(private.experiment_folder(trials[0])[0])


def put_back(packed: bytes, controller: Any, remembering: RememberingScheduler) -> None:
    """Give a controller's scheduler the state of a snapshot, if that is of the same trials."""
    trials = private.trials(controller)
    unfit = Snapshot.unfit(packed, remembering.scheduler, trials)
    if unfit:
        logger.warning("tune_ckpt: the scheduler begins anew: the state that was kept is %s", unfit)
        return
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
    trial: Any, snapshot: Snapshot, controller: Any, remembering: RememberingScheduler
) -> None:
    status = snapshot.statuses.get(trial.trial_id)
    if trial.status in ENDED:
        return
    if status is None or status in ENDED:  # it goes on after its end: a new one to the scheduler
        remembering.on_trial_add(private.wrapped(controller), trial)
        return
    iteration, decision = snapshot.seen.get(trial.trial_id, (0, ""))
    if private.reached(trial) < iteration and not private.exploits(trial):
        remembering.repeats[trial.trial_id] = (iteration, decision)
    elif status == PAUSED or (status == PENDING and decision in _PAUSING):
        private.pause(controller, trial)  # pending: about to be started again
    if status == RUNNING:
        remembering.under_way.append(trial)
