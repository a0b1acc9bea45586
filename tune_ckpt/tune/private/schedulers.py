"""What schedulers know of trials: ASHA's brackets, and PBT's population.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tune_ckpt.tune.private.controllers import controller, scheduler


def exploitable() -> set[str]:
    """Return the paths of checkpoints that PBT may still give to other trials.

    PBT keeps for each good trial the checkpoint of its last perturbation, which may be older than
    its newest.
    """
    paths, owner = set(), controller()
    found = scheduler(owner) if owner is not None else None
    for wrapper in ("scheduler", "_base_scheduler"):  # ours, and Ray's that changes resources
        found = getattr(found, wrapper, found)
    known = getattr(found, "_trial_state", {})
    for state in known.values():
        kept: Any = getattr(state, "last_checkpoint", None)
        if is_future(kept):
            kept = resolved(kept)
        if kept is not None:
            paths.add(kept.path)
    return paths


def is_future(value: Any) -> bool:
    """Say whether a value is the promise of a save that a scheduler asked for."""
    from ray.train._internal.session import _FutureTrainingResult

    return isinstance(value, _FutureTrainingResult)


def resolved(future: Any) -> Any:
    """Return the checkpoint that a scheduled save has written; None where it is not there yet."""
    result = future.resolve(block=False)
    return result.checkpoint if result else None


def brackets(scheduler: Any) -> int:
    """Return how many brackets ASHA has."""
    return len(scheduler._brackets)


def population(scheduler: Any) -> dict[Any, Any]:
    """Return what PBT knows of each trial."""
    return dict(scheduler._trial_state)


def keep_replayed_config(scheduler: Any, trial: Any) -> None:
    """Give a trial the config at which PBT's replay is; when it was added, it got the first."""
    from ray.tune.schedulers import PopulationBasedTrainingReplay

    if isinstance(scheduler, PopulationBasedTrainingReplay):
        trial.set_config(scheduler.current_config)


def replay_until(scheduler: Any, step: int) -> None:
    """Bring PBT's replay to where it is after an iteration."""
    while scheduler._next_policy and scheduler._next_policy[0] <= step:
        scheduler.current_config = scheduler._next_policy[1]
        scheduler._next_policy = next(scheduler._policy_iter, None)
        scheduler._num_perturbations += 1
    scheduler._current_step = step


def time_attribute(scheduler: Any) -> str:
    """Return the metric that tells PBT the time."""
    return str(scheduler._time_attr)


def is_due(scheduler: Any, since: float, time: float) -> bool:
    """Say whether PBT looks at a trial that long after it was last perturbed."""
    return bool(time >= scheduler._burn_in_period and since >= scheduler._perturbation_interval)


def last_multiple(scheduler: Any, time: float) -> float:
    """Return when a trial was perturbed last that is looked at: there and then, if not in step."""
    if not scheduler._synch:
        return time
    interval = scheduler._perturbation_interval
    return float(time // interval * interval)


def save_score(scheduler: Any, state: Any, time: float, result: dict[str, Any], trial: Any) -> None:
    """Let PBT note a trial's score; PB2 notes the config with it, which was that of the result."""
    then = {name[7:]: value for name, value in result.items() if name.startswith("config/")}
    now, trial.config = trial.config, then or trial.config
    try:
        scheduler._save_trial_state(state, time, result, trial)
    finally:
        trial.config = now


def wait_for_all(scheduler: Any, trials: list[Any]) -> dict[str, str]:
    """Let synchronous PBT know up to where all trials are; return who waits for the others."""
    if not scheduler._synch:
        return {}
    times = {
        trial: scheduler._trial_state[trial].last_train_time
        for trial in trials
        if not trial.is_finished()
    }
    step = scheduler._next_perturbation_sync
    while times and min(times.values()) >= step:
        step = max(step + scheduler._perturbation_interval, max(times.values()))
    scheduler._next_perturbation_sync = step
    return {trial.trial_id: "PAUSED" for trial, time in times.items() if time >= step}


def base_scheduler(scheduler: Any) -> Any:
    """Return what a scheduler that changes resources wraps."""
    return scheduler._base_scheduler


def forget_resources(scheduler: Any) -> None:
    """Let a scheduler's state say nothing of resources: it knows them from the trials."""
    del scheduler._base_trial_resources, scheduler._reallocated_trial_ids


def changed_resources(scheduler: Any, trials: Iterable[Any]) -> dict[str, Any]:
    """Return what a scheduler that changes resources has given to trials, by their ids."""
    from ray.tune.schedulers import ResourceChangingScheduler

    changes = isinstance(scheduler, ResourceChangingScheduler)
    return {trial.trial_id: trial.placement_group_factory for trial in trials if changes}


def set_metric(scheduler: Any, metric: str | None, mode: str | None) -> None:
    """Tell a scheduler what the sweep's TuneConfig says, as Tune does when it starts."""
    if not getattr(scheduler, "_metric", None) and metric:
        scheduler.set_search_properties(metric, mode)
