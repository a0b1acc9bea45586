"""What the process of a trial or of a Train worker knows of itself.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

import inspect
from typing import Any

import ray
from ray.train._internal import session as _session

from tune_ckpt.tune.private.places import next_in


def in_tune_function() -> bool:
    """Say whether this process runs a function for Tune."""
    session = _session.get_session()
    return session is not None and session.world_rank is None


def next_checkpoint() -> tuple[str, Any]:
    """Return where Tune will look for the next checkpoint of this trial, and the filesystem."""
    session: Any = _session.get_session()
    return next_in(session.storage)


def iteration_to_report() -> int | None:
    """Return the number that Tune will give to this trial's next result."""
    actor = ray.get_runtime_context().get_actor_id()
    for actor_id, trainable in ray._private.worker.global_worker.actors.items():
        if actor_id.hex() == actor:
            return int(trainable._iteration) + 1
    return None


def in_train_worker() -> bool:
    """Say whether this process is a worker of Train V2."""
    from ray.train.v2._internal.execution import context

    return context._train_context is not None


def worker_group() -> str:
    """Return what the workers of a Train run have in common, until they are started again."""
    from ray.train.v2._internal.execution import context

    train_context: Any = context.get_train_context()
    return str(train_context.get_synchronization_actor()._actor_id.hex())


def train_run_folder() -> tuple[str, Any]:
    """Return a Train run's folder in storage and its filesystem."""
    storage = ray.train.get_context().get_storage()
    return storage.experiment_fs_path, storage.storage_filesystem


def takes_upload_function() -> bool:
    """Say whether this Ray's ``ray.train.report`` lets us do the upload."""
    return "checkpoint_upload_fn" in inspect.signature(ray.train.report).parameters
