"""A scheduler that is not told twice of a result, when a trial has to report it again.

A trial whose newest checkpoint is older than its last result will report some results again. The
scheduler knows them already, and its decision of then is repeated.
"""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import TrialScheduler

from tune_ckpt.tune.statuses import PENDING


class RememberingScheduler(TrialScheduler):
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
        self.under_way = [trial for trial in self.under_way if trial.status == PENDING]
        if self.under_way:
            return self.under_way[0]
        return self.scheduler.choose_trial_to_run(*args, **kwargs)

    def debug_string(self) -> str:
        """Return the scheduler's own words."""
        return str(self.scheduler.debug_string())
