"""Population based training: trials go on from each other's checkpoints, and the lineage is told.

Run it:  python examples/pbt.py
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from settings import command

import tune_ckpt as tc


@dataclass
class Settings:
    """What configs/pbt.yaml says."""

    iterations: int
    perturbation_interval: int
    learning_rates: list[float]


class Descent(tc.CheckpointableTrainable):
    """Goes down a bowl; the learning rate decides how fast, and whether at all."""

    checkpoint_format = "msgpack"

    def setup(self, config):
        """Begin far from the minimum."""
        self.x = np.full(3, 10.0)

    def reset_config(self, new_config):
        """Take the learning rate that PBT has found for a trial that goes on."""
        self.config = new_config
        return True

    def step(self):
        """Go down the slope once."""
        self.x = self.x - self.config["lr"] * self.x
        return {"loss": float(np.square(self.x).sum())}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        """Return where it is."""
        return {"x": self.x}

    def set_state(self, state):
        """Go where a checkpoint was, which may be another trial's."""
        self.x = state["x"]


def main(settings: Settings, storage: Path) -> None:
    """Run the sweep, and show which trial went on from which."""
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        metric="loss",
        mode="min",
        perturbation_interval=settings.perturbation_interval,
        hyperparam_mutations={"lr": tune.loguniform(1e-3, 1.0)},
        synch=True,
    )
    tuner = tune.Tuner(
        Descent,
        param_space={"lr": tune.grid_search(settings.learning_rates)},
        tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(
            name="pbt",
            storage_path=str(storage),
            verbose=0,
            stop={"training_iteration": settings.iterations},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
        ),
    )
    results = tuner.fit()

    best = tc.best_checkpoint(results, "loss", "min")
    print(f"best: trial {best.trial_id}, iteration {best.iteration}, loss {best.value:.3g}")
    records = tc.rank_checkpoints(results, "loss", "min")
    for record in sorted(records, key=lambda record: (record.trial_id, record.iteration)):
        origin = tc.describe(record).lineage.get("restored_from_trial")
        if origin and origin["id"] != record.trial_id:
            came_from = f"trial {origin['id']} at iteration {origin['iteration']}"
            print(f"trial {record.trial_id}, iteration {record.iteration}: from {came_from}")


if __name__ == "__main__":
    settings = command(__doc__, Settings, "pbt.yaml").parse_args().settings
    main(settings, Path(tempfile.mkdtemp(prefix="pbt_")))
