"""One small sweep, as most tests of the callback want it, and what a sweep left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ray import tune
from ray.tune.schedulers.pb2 import PB2

from tests.tune.trainables import Walker

SCORES = {0: 0.1, 1: 0.9, 2: 0.3, 3: 0.2}  # by the iteration before the step


def sweep(folder, *callbacks, cls=Walker, keep=None, trials=1, scores=SCORES, **options):
    """Run four iterations of each trial, with a checkpoint after each."""
    run_config = tune.RunConfig(
        name="run",
        storage_path=str(folder),
        verbose=0,
        stop={"training_iteration": 4},
        callbacks=list(callbacks),
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=keep),
        **options,
    )
    space = {"scores": scores, "seed": tune.grid_search(list(range(trials)))}
    return tune.Tuner(cls, param_space=space, run_config=run_config).fit()


def pb2(**options):
    """Return the scheduler PB2; older Rays' needs a package (GPy) that few have."""
    try:
        return PB2(**options)
    except RuntimeError as error:
        pytest.skip(str(error))


def checkpoints(result):
    """Return the paths of the checkpoints that a trial's folder holds, in order."""
    return sorted(Path(result.path).glob("checkpoint_*"))


def rows(file):
    """Return what the lines of a file such as ``result.json`` hold."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]
