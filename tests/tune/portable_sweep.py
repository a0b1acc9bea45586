"""A sweep that one interpreter starts and another resumes: ``python -m tests.tune.portable_sweep``.

Its pickles hold code: a function in the config, and the scheduler's own.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import ray
from ray import tune
from ray.tune.schedulers import HyperBandScheduler

import tune_ckpt as tc
from tests.tune.resuming import Climber

SPACE = {"rate": tune.grid_search([1.0, 2.0, 3.0, 4.0]), "curve": lambda height: height + 1}


class Curved(Climber):
    """Needs the function of its config; waits to be killed, where that is planned."""

    def step(self):
        if self.iteration == 3 and "TUNE_CKPT_TO_BE_KILLED" in os.environ:
            threading.Event().wait()
        result = super().step()
        return {**result, "curved": self.config["curve"](self.height)}


def configs(**options):
    """Return the sweep's settings, all of which can be given again."""
    scheduler = HyperBandScheduler(max_t=8, reduction_factor=2)
    tune_config = tune.TuneConfig(
        metric="height", mode="max", scheduler=scheduler, reuse_actors=True
    )
    run_config = tune.RunConfig(
        stop={"training_iteration": 8},
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
        **options,
    )
    return {"param_space": SPACE, "tune_config": tune_config, "run_config": run_config}


def main(what: str, storage: str) -> None:
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "0"
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    if what == "start":
        tuner = tune.Tuner(Curved, **configs(name="run", storage_path=storage))
    elif what == "resume":
        tuner = tc.resume(f"{storage}/run", Curved)
    else:
        tuner = tc.resume(f"{storage}/run", Curved, portable=True, **configs())
        print("report:", tuner.report)
    results = tuner.fit()
    found = sorted(
        (r.config["rate"], r.metrics["training_iteration"], r.metrics["curved"]) for r in results
    )
    print("python:", sys.version.split()[0], "ray:", ray.__version__)
    print("results:", json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
