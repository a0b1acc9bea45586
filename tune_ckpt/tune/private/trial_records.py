"""What Tune notes of a trial's checkpoints, running or in an experiment state.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any


def checkpoint_config_of(trial: Any) -> Any:
    """Return a trial's ``CheckpointConfig``."""
    return _manager(trial).checkpoint_config


def load_trials(document: dict[str, Any]) -> list[Any]:
    """Return the trials of an experiment state; unpickles what is in it."""
    from ray.tune.experiment import Trial

    trials = []
    for facts, past in document["trial_data"]:
        trial = Trial.from_json_state(facts, stub=True)
        trial.restore_run_metadata(past)
        trials.append(trial)
    return trials


def keep_config(trial: Any, config: dict[str, Any]) -> None:
    """Give a trial its config back, but for references of Ray, after Ray was given its space again.

    Ray puts those in, but also draws anew what functions in the space (``tune.sample_from``) had
    drawn, and undoes what a scheduler has changed.
    """
    placeholders = vars(trial).get("_Trial__unresolved_config")
    trial.set_config(_with_references(config, trial.config, placeholders))


def _with_references(value: Any, resolved: Any, placeholder: Any) -> Any:
    """Return a part of a config with Ray's references where it has placeholders of them."""
    if isinstance(placeholder, list | tuple) and "__ref_ph" in placeholder[:1]:
        return resolved
    if all(isinstance(each, dict) for each in (value, resolved, placeholder)):
        return {
            name: _with_references(item, resolved.get(name), placeholder.get(name))
            for name, item in value.items()
        }
    lists = all(isinstance(each, list) for each in (value, resolved, placeholder))
    if lists and len(value) == len(resolved) == len(placeholder):
        return list(map(_with_references, value, resolved, placeholder))
    return value


def dump_trials(trials: Iterable[Any]) -> Iterator[list[str]]:
    """Yield trials as an experiment state holds them."""
    for trial in trials:
        trial.stub = False  # else Ray would not look for the trainable
        trial.invalidate_json_state()
        trial.run_metadata.invalidate_cache()
        yield list(trial.get_json_state())


def new_trial(trainable: str, **facts: Any) -> Any:
    """Return a trial that is not of this session: its trainable need not be known here."""
    from ray.tune.experiment import Trial

    trial: Any = Trial(trainable, stub=True, **facts)
    trial.create_placement_group_factory()
    return trial


def is_trial(value: Any) -> bool:
    """Say whether a value is a trial."""
    from ray.tune.experiment import Trial

    return isinstance(value, Trial)


def relocate(trial: Any, filesystem: Any, experiment: str) -> None:
    """Tell a trial where its sweep is now, and so of its checkpoints, other trials' included."""
    old = trial.storage.experiment_fs_path
    storage = copy.copy(trial.storage)
    session = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    vars(storage).setdefault("_timestamp", session)  # an older Ray's has none
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


def latest_path(trial: Any) -> str | None:
    """Return the path of that checkpoint, which may be another trial's; None for the start."""
    result = latest(trial)
    return result.checkpoint.path if result and result.checkpoint else None


def own_latest_path(trial: Any) -> str | None:
    """Return the path of the newest checkpoint that a trial wrote itself; None if it wrote none."""
    own = [path for path in recorded(trial) if path.startswith(f"{trial.storage.trial_fs_path}/")]
    latest = latest_path(trial)
    return latest if latest in own else max(own, default=None)


def reached(trial: Any) -> int:
    """Return the iteration of that checkpoint; 0 for the start."""
    result = latest(trial)
    return int(result.metrics.get("training_iteration", 0)) if result else 0


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


def exploits(trial: Any) -> bool:
    """Say whether a trial's latest checkpoint is another trial's."""
    result = latest(trial)
    return bool(result) and not result.checkpoint.path.startswith(f"{trial.storage.trial_fs_path}/")
