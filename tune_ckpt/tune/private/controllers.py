"""The controller of a running sweep, of which callbacks are not told.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any


def controller() -> Any:
    """Return the controller of which a callback's hook is called; None outside of a sweep.

    Hooks are not told of it, and it alone knows the scheduler.
    """
    from ray.tune.execution.tune_controller import TuneController

    frame: FrameType | None = sys._getframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, TuneController):
            return owner
        frame = frame.f_back
    return None


def has_resumed(controller: Any) -> bool:
    """Say whether a controller goes on with a sweep; where that fails, Ray begins a new one."""
    return bool(controller.resumed)


def state_path(controller: Any) -> str:
    """Return the folder of a controller's sweep."""
    return str(controller.experiment_path)


def callbacks(controller: Any) -> list[Any]:
    """Return the callbacks of a controller's sweep."""
    return list(controller._callbacks._callbacks)


def scheduler(controller: Any) -> Any:
    """Return a controller's scheduler."""
    return controller._scheduler_alg


def replace_scheduler(controller: Any, scheduler: Any) -> None:
    """Give a controller another scheduler."""
    controller._scheduler_alg = scheduler


def trials(controller: Any) -> list[Any]:
    """Return a controller's trials in its order."""
    return list(controller._trials)


def reorder(controller: Any, trial_ids: list[str], first: list[Any]) -> None:
    """Put a controller's trials into an order; those that are not named come last.

    Args:
        controller: The controller.
        trial_ids: The order.
        first: Those that are to be started before all others.
    """
    places = {trial_id: place for place, trial_id in enumerate(trial_ids)}
    for queue in (controller._trials, controller._pending_trials_list):
        queue.sort(key=lambda trial: places.get(trial.trial_id, len(places)))
    controller._pending_trials_list.sort(key=lambda trial: trial not in first)


def pause(controller: Any, trial: Any) -> None:
    """Let a pending trial wait for the scheduler."""
    controller._set_trial_status(trial, "PAUSED")
    controller._pending_trials_list = [t for t in controller._pending_trials_list if t is not trial]


def set_resources(controller: Any, trial: Any, resources: Any) -> None:
    """Let a trial that has not been started need other resources."""
    waiting = controller._resources_to_pending_trials
    waiting[trial.placement_group_factory].discard(trial)
    trial.update_resources(resources)
    waiting[resources].add(trial)


def limit_concurrency(controller: Any, limit: int) -> None:
    """Let the searcher have so many trials under way; what it was saved with does not count."""
    search = controller._search_alg
    searcher = getattr(search, "searcher", None)
    if searcher is None:
        search.max_concurrent = limit
    else:
        searcher.set_max_concurrency(limit)
    controller.update_max_pending_trials()


def tell_the_end(controller: Any, trial_id: str, result: dict[str, Any]) -> None:
    """Tell a controller's searcher that a trial has ended."""
    controller._search_alg.on_trial_complete(trial_id, result=result)


def keep_from_searcher(controller: Any, trial_ids: set[str]) -> None:
    """Let a controller's searcher hear nothing more of some trials."""
    search = controller._search_alg
    for name in ("on_trial_result", "on_trial_complete"):
        tell = getattr(search, name)

        def tell_of_others(trial_id: str, *args: Any, tell: Any = tell, **kwargs: Any) -> None:
            """Tell the searcher of a trial, unless it is one of these."""
            if trial_id not in trial_ids:
                tell(trial_id, *args, **kwargs)

        setattr(search, name, tell_of_others)


def extend_stop(controller: Any, stop: dict[str, float]) -> None:
    """Let the trials that the searcher is still to make stop there."""
    for spec in _specs(controller._search_alg):
        spec["stop"] = {**(spec.get("stop") or {}), **stop}


def make_trials_here(controller: Any) -> None:
    """Let the trials that the searcher is still to make lie in the sweep's folder, where it is now.

    The searcher was saved with the place where the sweep began.
    """
    for spec in _specs(controller._search_alg):
        spec["storage"] = controller._storage


def _specs(search: Any) -> list[dict[str, Any]]:
    """Return what a searcher makes trials of; a grid's variants may all be made already."""
    specs = []
    for iterator in getattr(search, "_iterators", ()):
        variants = iterator.variants
        made = variants.iterable if variants and not variants.lazy_eval else ()
        specs += [iterator.unresolved_spec, *(spec for _, spec in made)]
    experiment = getattr(search, "_experiment", None)
    return specs if experiment is None else [*specs, experiment.spec]


def wrapped(controller: Any) -> Any:
    """Return a controller as schedulers get it."""
    return controller._wrapped()
