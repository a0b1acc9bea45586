"""What Ray does not promise to keep, in one place. Checked with Ray 2.48, 2.54 and 2.60.

A test fails when Ray changes any of it.
"""

from __future__ import annotations

import inspect
import sys
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


def checkpoint_config(trial: Any) -> Any:
    """Return a trial's ``CheckpointConfig``."""
    return trial.run_metadata.checkpoint_manager.checkpoint_config


def exploitable() -> set[str]:
    """Return the paths of checkpoints that PBT may still give to other trials.

    Hooks are told nothing of the scheduler. It is found among their callers: PBT keeps for each
    good trial the checkpoint of its last perturbation, which may be older than its newest.
    """
    paths = set()
    for state in getattr(_scheduler(), "_trial_state", {}).values():
        kept: Any = getattr(state, "last_checkpoint", None)
        if hasattr(kept, "resolve"):  # a save under way, or just ended
            result = kept.resolve(block=False)
            kept = result.checkpoint if result is not None else None
        if kept is not None:
            paths.add(kept.path)
    return paths


def _scheduler() -> Any:
    frame = sys._getframe()
    while frame is not None:
        scheduler = getattr(frame.f_locals.get("self"), "_scheduler_alg", None)
        if scheduler is not None:
            return getattr(scheduler, "_base_scheduler", scheduler)
        frame = frame.f_back  # type: ignore[assignment]
    return None
