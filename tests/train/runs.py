"""One small Train run, as the tests want it."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from tests.train import functions

FASTER = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # how often reports are looked for
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process for every group of workers
}


def fit(
    folder,
    workers=1,
    function=functions.walk,
    callbacks=None,
    filesystem=None,
    failures=0,
    trainer=DataParallelTrainer,  # a TorchTrainer's base, without torch, whose import takes long
    **config,
):
    """Run a function in some workers, the run being ``<folder>/run``; return its result."""
    made = trainer(
        function,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=workers),
        run_config=ray.train.RunConfig(
            name="run",
            storage_path=str(folder),
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(max_failures=failures),
            callbacks=callbacks,
        ),
    )
    with mock.patch.dict(os.environ, FASTER):
        return made.fit()


def checkpoints(result):
    """Return the paths of a run's checkpoints, in order."""
    return [Path(checkpoint.path) for checkpoint, _ in result.best_checkpoints]
