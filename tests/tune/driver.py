"""A sweep in a process of its own, to be killed and run again, in the folder that is given."""

from __future__ import annotations

import os
import sys

import ray
from ray import tune

import tune_ckpt as tc
from tests.tune.trainables import Walker

STEPS = 12


class Waves(Walker):
    """Its score rises and falls again."""

    def step(self):
        result = super().step()
        result["score"] = float(self.iteration % 5)
        return result


def main(folder: str) -> None:
    own = {"include_dashboard": False} if os.environ["RAY_ADDRESS"] == "local" else {}
    ray.init(log_to_driver=False, **own)
    path = os.path.join(folder, "run")
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, Waves)
    else:
        callback = tc.CheckpointCallback("all", metric="score", pin_best=True)
        tuner = tune.Tuner(
            Waves,
            param_space={"seed": tune.grid_search([1, 2])},
            run_config=tune.RunConfig(
                name="run",
                storage_path=folder,
                verbose=0,
                stop={"training_iteration": STEPS},
                callbacks=[callback],
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=3),
            ),
        )
    tuner.fit()


if __name__ == "__main__":
    main(sys.argv[1])
