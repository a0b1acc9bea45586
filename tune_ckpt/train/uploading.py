"""For workers that report checkpoints of their own making: converted on their way to storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray.train

from tune_ckpt.objects.rewriting import write_as_msgpack
from tune_ckpt.train.jobs import annotate
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.private import train_run_folder


def upload_as_msgpack(
    checkpoint: Any, checkpoint_dir_name: str, metrics: Mapping[str, Any] | None = None
) -> Any:
    """Convert a component tree to msgpack while it is uploaded, so that no pickle is stored.

    >>> ray.train.report(  # doctest: +SKIP
    ...     metrics, checkpoint, checkpoint_upload_fn=tc.upload_as_msgpack
    ... )

    Ray Train does not tell it the metrics. To have them in the checkpoint's metadata too, give
    ``functools.partial(tc.upload_as_msgpack, metrics=metrics)``.

    For one worker that reports a whole checkpoint. It is written once, by the worker, before Ray
    Train knows of it. `tune_ckpt.report` needs no such thing.

    Args:
        checkpoint: A Ray checkpoint that is a component tree; its pickles are trusted.
        checkpoint_dir_name: Its name in the run's folder, as Ray Train gives it.
        metrics: What is reported with it.

    Returns:
        The checkpoint in the run's folder.

    Raises:
        NotACheckpointError: It is no component tree.
        UnsupportedStateError: msgpack cannot bring back some values; all are listed.
    """
    folder, filesystem = train_run_folder()
    path = f"{folder}/{checkpoint_dir_name}"
    write_as_msgpack(checkpoint, path, filesystem=filesystem, allow_pickle=True)
    if metrics is not None:
        annotate(open_store(path, filesystem), metrics)
    return ray.train.Checkpoint(path, filesystem)
