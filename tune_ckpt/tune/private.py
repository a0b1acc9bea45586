"""What Ray does not promise to keep, in one place. Checked with Ray 2.48, 2.54 and 2.60.

A test fails when Ray changes any of it.
"""

from __future__ import annotations

import copy
import inspect
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import ray
from ray.train._internal import session as _session


def trial_folder(trial: Any) -> tuple[str, Any]:
    """Return a trial's folder in storage and its filesystem (None for the local disk)."""
    return trial.storage.trial_fs_path, local_or(trial.storage.storage_filesystem)


def experiment_folder(trial: Any) -> tuple[str, Any]:
    """Return the folder of a trial's sweep and its filesystem (None for the local disk)."""
    return trial.storage.experiment_fs_path, local_or(trial.storage.storage_filesystem)


def local_or(filesystem: Any) -> Any:
    """Return a pyarrow filesystem, or None for the local disk, which costs nothing to send."""
    return None if filesystem.type_name == "local" else filesystem


# ------------------------------------------------------------------------- within a Tune function


def in_tune_function() -> bool:
    """Say whether this process runs a function for Tune."""
    session = _session.get_session()
    return session is not None and session.world_rank is None


def next_checkpoint() -> tuple[str, Any]:
    """Return where Tune will look for the next checkpoint of this trial, and the filesystem."""
    session: Any = _session.get_session()
    storage = session.storage
    name = storage._make_checkpoint_dir_name(storage.current_checkpoint_index + 1)
    return f"{storage.trial_fs_path}/{name}", local_or(storage.storage_filesystem)


def iteration_to_report() -> int | None:
    """Return the number that Tune will give to this trial's next result."""
    actor = ray.get_runtime_context().get_actor_id()
    for actor_id, trainable in ray._private.worker.global_worker.actors.items():
        if actor_id.hex() == actor:
            return int(trainable._iteration) + 1
    return None


# -------------------------------------------------------------------------- within a Train worker


def in_train_worker() -> bool:
    """Say whether this process is a worker of Train V2."""
    from ray.train.v2._internal.execution import context

    return context._train_context is not None


def train_run_folder() -> tuple[str, Any]:
    """Return a Train run's folder in storage and its filesystem."""
    storage = ray.train.get_context().get_storage()
    return storage.experiment_fs_path, storage.storage_filesystem


def takes_upload_function() -> bool:
    """Say whether this Ray's ``ray.train.report`` lets us do the upload."""
    return "checkpoint_upload_fn" in inspect.signature(ray.train.report).parameters


def latest_of(trial: Any) -> str | None:
    """Return the path of what a trial would be restored from, another trial's too."""
    result = trial.run_metadata.checkpoint_manager.latest_checkpoint_result
    return result.checkpoint.path if result is not None and result.checkpoint else None


def checkpoint_config_of(trial: Any) -> Any:
    """Return a trial's ``CheckpointConfig``."""
    return trial.run_metadata.checkpoint_manager.checkpoint_config


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
        if hasattr(kept, "resolve"):  # a save under way, or just ended
            result = kept.resolve(block=False)
            kept = result.checkpoint if result is not None else None
        if kept is not None:
            paths.add(kept.path)
    return paths


def filesystem_and_path(path: str, filesystem: Any) -> tuple[Any, str]:
    """Return the pyarrow filesystem that a path or URI means to Ray, and the path within it."""
    from ray.train._internal.storage import get_fs_and_path

    found: tuple[Any, str] = get_fs_and_path(path, filesystem)
    return found


# ------------------------------------------------------------- trials in an experiment state


def load_trials(document: dict[str, Any]) -> list[Any]:
    """Return the trials of an experiment state; unpickles what is in it."""
    from ray.tune.experiment import Trial

    trials = []
    for facts, past in document["trial_data"]:
        trial = Trial.from_json_state(facts, stub=True)
        trial.restore_run_metadata(past)
        trials.append(trial)
    return trials


def dump_trials(trials: Iterable[Any]) -> Iterator[list[str]]:
    """Yield trials as an experiment state holds them."""
    for trial in trials:
        trial.stub = False  # else Ray would not look for the trainable
        trial.invalidate_json_state()
        trial.run_metadata.invalidate_cache()
        yield list(trial.get_json_state())


def relocate(trial: Any, filesystem: Any, experiment: str) -> None:
    """Tell a trial where its sweep is now, and so of its checkpoints, other trials' included."""
    old = trial.storage.experiment_fs_path
    storage = copy.copy(trial.storage)
    storage.storage_filesystem = filesystem
    storage.storage_fs_path, _, storage.experiment_dir_name = experiment.rpartition("/")
    trial.set_storage(storage)
    for result in (*_manager(trial)._checkpoint_results, latest(trial)):
        # One that exploits another trial has that one's checkpoint.
        if result and result.checkpoint and result.checkpoint.path.startswith(f"{old}/"):
            moved = experiment + result.checkpoint.path.removeprefix(old)
            result.checkpoint = _checkpoint(moved, filesystem)


def _manager(trial: Any) -> Any:
    return trial.run_metadata.checkpoint_manager


def latest(trial: Any) -> Any:
    """Return the checkpoint (and metrics) that a trial would go on from; None for the start."""
    return _manager(trial)._latest_checkpoint_result


def recorded(trial: Any) -> dict[str, dict[str, Any]]:
    """Return the metrics of the checkpoints that are recorded for a trial, by path."""
    results = [*_manager(trial)._checkpoint_results, latest(trial)]
    return {r.checkpoint.path: r.metrics for r in results if r and r.checkpoint}


def set_latest(trial: Any, found: tuple[str, dict[str, Any]] | None, filesystem: Any) -> None:
    """Let a checkpoint, given by its path and metrics, be a trial's latest."""
    from ray.train._internal.session import _TrainingResult

    manager = _manager(trial)
    manager._latest_checkpoint_result = None
    if found is not None:
        path, metrics = found
        known = recorded(trial)
        result = _TrainingResult(_checkpoint(path, filesystem), metrics)
        if path not in known and path.startswith(f"{trial.storage.trial_fs_path}/"):
            manager._checkpoint_results.append(result)
        manager._latest_checkpoint_result = result


def go_on_from(trial: Any, path: str, metrics: dict[str, Any], filesystem: Any) -> None:
    """Let a trial go on from a checkpoint."""
    set_latest(trial, (path, metrics), filesystem)
    trial.run_metadata.last_result = {**metrics, "done": False}  # it may have ended there once


def start_over(trial: Any) -> None:
    """Let a trial begin from the start."""
    _manager(trial)._latest_checkpoint_result = None
    trial.run_metadata.last_result = {}


def forget(trial: Any, paths: set[str]) -> None:
    """Forget that a trial has these checkpoints."""
    manager = _manager(trial)
    manager._checkpoint_results = [
        result for result in manager._checkpoint_results if result.checkpoint.path not in paths
    ]


def _checkpoint(path: str, filesystem: Any) -> Any:
    from ray.tune import Checkpoint

    return Checkpoint(path, filesystem)


def write_next_at(trial: Any, index: int) -> None:
    """Let a trial number its next checkpoint so, or higher."""
    current = trial.storage.current_checkpoint_index
    trial.storage.current_checkpoint_index = max(current, index - 1)


# ----------------------------------------------------------------------- a restored Tuner


def tune_config(tuner: Any) -> Any:
    """Return a Tuner's `TuneConfig`."""
    return tuner._local_tuner._tune_config


def run_config(tuner: Any) -> Any:
    """Return a Tuner's `RunConfig`."""
    return tuner._local_tuner.get_run_config()


def statuses(results: Any) -> dict[str, str]:
    """Return how each trial of a ResultGrid stands."""
    return {trial.trial_id: str(trial.status) for trial in results._experiment_analysis.trials}


def fit(tuner: Any) -> tuple[Any, bool]:
    """Run a Tuner; return its results, and whether Ctrl-C ended it.

    Tune takes SIGINT over, and gives it back only when it came; trials that it stopped then count
    as finished, but for their last results.
    """
    before = signal.getsignal(signal.SIGINT)
    results = tuner.fit()
    given_back = signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, before)
    trials = results._experiment_analysis.trials
    return results, given_back and not all(trial.last_result.get("done") for trial in trials)


def internals(tuner: Any) -> Any:
    """Return what a Tuner's subclass is made of."""
    return tuner._local_tuner


# --------------------------------------------------------------------- a running controller


def controller() -> Any:
    """Return the controller of which a callback's hook is called; None outside of a sweep.

    Hooks are not told of it, and it alone knows the scheduler.
    """
    from ray.tune.execution.tune_controller import TuneController

    frame = sys._getframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, TuneController):
            return owner
        frame = frame.f_back  # type: ignore[assignment]
    return None


def has_resumed(controller: Any) -> bool:
    """Say whether a controller goes on with a sweep; where that fails, Ray begins a new one."""
    return bool(controller.resumed)


def state_path(controller: Any) -> str:
    """Return the folder of a controller's sweep."""
    return str(controller.experiment_path)


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


def limit_concurrency(controller: Any, limit: int) -> None:
    """Let the searcher have so many trials under way; what it was saved with does not count."""
    search = controller._search_alg
    searcher = getattr(search, "searcher", None)
    if searcher is None:
        search.max_concurrent = limit
    else:
        searcher.set_max_concurrency(limit)
    controller.update_max_pending_trials()


def extend_stop(controller: Any, stop: dict[str, float]) -> None:
    """Let the trials that the searcher is still to make stop there."""
    search = controller._search_alg
    specs = [iterator.unresolved_spec for iterator in getattr(search, "_iterators", ())]
    if getattr(search, "_experiment", None) is not None:
        specs.append(search._experiment.spec)
    for spec in specs:
        spec["stop"] = {**(spec.get("stop") or {}), **stop}


def is_future(value: Any) -> bool:
    """Say whether a value is the promise of a save that a scheduler asked for."""
    from ray.train._internal.session import _FutureTrainingResult

    return isinstance(value, _FutureTrainingResult)


def resolved(future: Any) -> Any:
    """Return the checkpoint that a scheduled save has written; None where it is not there yet."""
    result = future.resolve(block=False)
    return result.checkpoint if result else None


def exploits(trial: Any) -> bool:
    """Say whether a trial's latest checkpoint is another trial's."""
    result = latest(trial)
    return bool(result) and not result.checkpoint.path.startswith(f"{trial.storage.trial_fs_path}/")


def wrapped(controller: Any) -> Any:
    """Return a controller as schedulers get it."""
    return controller._wrapped()


def brackets(scheduler: Any) -> int:
    """Return how many brackets ASHA has."""
    return len(scheduler._brackets)


# ------------------------------------------------------------ population based training


def population(scheduler: Any) -> dict[Any, Any]:
    """Return what PBT knows of each trial."""
    return dict(scheduler._trial_state)


def keep_replayed_config(scheduler: Any, trial: Any) -> None:
    """Give a trial the config at which PBT's replay is; when it was added, it got the first."""
    from ray.tune.schedulers import PopulationBasedTrainingReplay

    if isinstance(scheduler, PopulationBasedTrainingReplay):
        trial.set_config(scheduler.current_config)


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
    """Let PBT note a trial's score."""
    scheduler._save_trial_state(state, time, result, trial)


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


def set_metric(scheduler: Any, metric: str | None, mode: str | None) -> None:
    """Tell a scheduler what the sweep's TuneConfig says, as Tune does when it starts."""
    if not getattr(scheduler, "_metric", None) and metric:
        scheduler.set_search_properties(metric, mode)


# ----------------------------------------------------------------------------- trials anew


def storage(parent: str, experiment: str, trial: str, filesystem: Any) -> Any:
    """Return the place of a trial's folder, as Ray notes it."""
    from ray.train._internal.storage import StorageContext

    return StorageContext(parent, experiment, storage_filesystem=filesystem, trial_dir_name=trial)


def checkpoint_config(tuner: Any, trainable: Any) -> Any:
    """Return when and how a Tuner's trials save."""
    return tuner._local_tuner._get_tune_run_arguments(trainable)["checkpoint_config"]


def trainable_name(trainable: Any) -> str:
    """Return the name under which Tune knows a trainable."""
    from ray.tune.experiment import Experiment

    return str(Experiment.get_trainable_name(trainable))


# ------------------------------------------------------------------------------- searchers


def begun_search(tuner: Any, param_space: dict[str, Any]) -> Any:
    """Return a Tuner's search algorithm as Tune has it when a sweep begins; see ``tune.run``.

    The objects in the search space stay, instead of Tune's placeholders.
    """
    from ray.tune.experiment import Experiment
    from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher, SearchGenerator

    local, config = tuner._local_tuner, tune_config(tuner)
    arguments = local._get_tune_run_arguments(local.converted_trainable)
    spec = ("name", "stop", "storage_path", "storage_filesystem", "checkpoint_config")
    space = copy.deepcopy(param_space)
    experiment = Experiment(
        run=local.converted_trainable,
        config=space,
        num_samples=sys.maxsize if config.num_samples == -1 else config.num_samples,
        max_failures=arguments["max_failures"],
        **{name: arguments[name] for name in spec},
    )
    search, limit = copy.deepcopy(config.search_alg), config.max_concurrent_trials
    search = search or BasicVariantGenerator(max_concurrent=limit or 0)
    if isinstance(search, Searcher):
        if limit and not isinstance(search, ConcurrencyLimiter):
            search = ConcurrencyLimiter(search, max_concurrent=limit)
        search = SearchGenerator(search)
    search.set_search_properties(config.metric, config.mode, space, **experiment.public_spec)
    search.add_configurations([experiment])
    return search


def innermost(search: Any) -> Any:
    """Return the searcher that others wrap."""
    while hasattr(search, "searcher"):
        search = search.searcher
    return search


def suggest_again(searcher: Any, trial: Any) -> bool:
    """Let a searcher suggest a past trial's values, under its id; say whether it can."""
    study = getattr(searcher, "_ot_study", None)  # Optuna's; no other has a queue
    if study is None or not isinstance(searcher._space, dict):
        return False
    from ray.tune.utils import flatten_dict

    values = flatten_dict(trial.config)
    study.enqueue_trial({name: values[name] for name in searcher._space if name in values})
    searcher.suggest(trial.trial_id)
    return True


def set_live_trials(search: Any, trial_ids: set[str]) -> None:
    """Tell a generator of variants which of its trials are under way."""
    search._live_trials = set(trial_ids)


def count_made(search: Any, number: int, alive: set[str]) -> None:
    """Tell a search generator how many trials there are, and its limiter which are under way."""
    search._counter = number
    limiter = search.searcher
    if hasattr(limiter, "live_trials"):
        limiter.live_trials = set(alive)
        limiter.num_unfinished_live_trials = len(alive)
