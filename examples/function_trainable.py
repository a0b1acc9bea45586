"""A Tune function saves and resumes with two calls; one trial is killed midway and goes on.

Run it:  python examples/function_trainable.py

Three trials train a small network on scikit-learn's digits. The second one kills its own process
(SIGKILL) halfway; Tune starts it again, and it goes on from its last checkpoint. Then the best
checkpoint of all trials is found, verified and restored into a new network.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from digits_model import Momentum, Network, accuracy, digits, gradients
from ray import tune
from settings import command

import tune_ckpt as tc


@dataclass
class Settings:
    """What configs/function_trainable.yaml says."""

    epochs: int
    learning_rates: list[float]
    killed: float


def train(config):
    """Train for some epochs, from where a killed trial had come."""
    images, labels, held_out, held_out_labels = digits()
    network = Network(hidden=32, seed=0)
    optimizer = Momentum(network, config["learning_rate"], momentum=0.9)
    parts = {"network": network, "optimizer": optimizer}
    done = tc.restore(parts).get("epochs", 0)  # 0 at the first start
    for epoch in range(done, config["epochs"]):
        for batch in np.array_split(np.random.default_rng(epoch).permutation(len(images)), 40):
            optimizer.step(gradients(network.weights, images[batch], labels[batch]))
        found = accuracy(network.weights, held_out, held_out_labels)
        tc.report({"accuracy": found, "resumed_at": done}, {**parts, "epochs": epoch + 1})
        if epoch + 1 == config["killed_after"] and done == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(settings: Settings, storage: Path) -> None:
    """Run the sweep, and show where its trials went on."""
    killed_one = tune.sample_from(
        lambda config: settings.epochs // 2 if config["learning_rate"] == settings.killed else None
    )
    tuner = tune.Tuner(
        train,
        param_space={
            "learning_rate": tune.grid_search(settings.learning_rates),
            "epochs": settings.epochs,
            "killed_after": killed_one,
        },
        run_config=tune.RunConfig(
            name="functions",
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    results = tuner.fit()
    killed = next(result for result in results if result.config["killed_after"])
    print(
        f"The killed trial went on after epoch {killed.metrics['resumed_at']} of {settings.epochs}."
    )

    best = tc.best_checkpoint(results, metric="accuracy", mode="max")  # verified
    network = Network(hidden=32, seed=1)
    tc.restore({"network": network}, best.path, exclude="optimizer")
    again = accuracy(network.weights, *digits()[2:])
    print(f"Best: trial {best.trial_id}, epoch {best.iteration}: {best.value:.4f}")
    print(f"Restored into a new network: {again:.4f}")
    if again != best.value or not killed.metrics["resumed_at"]:
        sys.exit("The checkpoint is not the one that was reported.")


if __name__ == "__main__":
    settings = command(__doc__, Settings, "function_trainable.yaml").parse_args().settings
    main(settings, Path(tempfile.mkdtemp(prefix="function_trainable_")))
