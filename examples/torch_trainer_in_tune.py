"""A TorchTrainer inside each Tune trial: its workers save with two calls, the best one is found.

Run it:  python examples/torch_trainer_in_tune.py

Two trials each start a Ray Train run of one worker, which trains a small torch network on
scikit-learn's digits. Tune itself sees no checkpoint of a Train run, only the path among the
metrics; the best checkpoint of all trials is found by it, verified, and restored in this process.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ray.train
import torch
from ray import tune
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback
from settings import command
from sklearn.datasets import load_digits

import tune_ckpt as tc


@dataclass
class Settings:
    """What configs/torch_trainer_in_tune.yaml says."""

    epochs: int
    learning_rates: list[float]


def new_network() -> torch.nn.Module:
    """Return a network whose weights are always the same."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)]
    return torch.nn.Sequential(*layers)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images and their labels."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def accuracy(network: torch.nn.Module) -> float:
    """Return how many of the held out images it knows."""
    images, labels = data()
    return float((network(images[1200:]).argmax(dim=1) == labels[1200:]).float().mean())


def train(config):
    """What each worker of a Train run does."""
    images, labels = data()
    network = new_network()
    optimizer = torch.optim.SGD(network.parameters(), config["learning_rate"], momentum=0.9)
    parts = {"network": network, "optimizer": optimizer}
    start = tc.restore(parts).get("epochs", 0)  # after a failure: where the last checkpoint was
    for epoch in range(start, config["epochs"]):
        for batch in torch.randperm(1200, generator=torch.Generator().manual_seed(epoch)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        tc.report({"accuracy": accuracy(network)}, {**parts, "epochs": epoch + 1})


def trial(config):
    """What each trial does: a Train run that reports to Tune."""
    TorchTrainer(
        train,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.5}),
        run_config=ray.train.RunConfig(
            name=f"train_{tune.get_context().get_trial_id()}",
            storage_path=config["storage"],
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


def main(settings: Settings, storage: Path) -> None:
    """Run the sweep, and load its best network."""
    rates = tune.grid_search(settings.learning_rates)
    space = {"learning_rate": rates, "epochs": settings.epochs, "storage": str(storage)}
    run_config = tune.RunConfig(name="sweep", storage_path=str(storage), verbose=0)
    # A trial only waits for its worker, and must leave it a CPU.
    waiting = tune.with_resources(trial, {"CPU": 0.1})
    results = tune.Tuner(waiting, param_space=space, run_config=run_config).fit()

    best = tc.best_checkpoint(results, metric="accuracy", mode="max")  # verified
    network = new_network()
    tc.restore({"network": network}, best.path, exclude="optimizer")
    print(f"Best: trial {best.trial_id}, iteration {best.iteration}: {best.value!r}")
    print(f"Restored into a new network: {accuracy(network)!r}")
    if accuracy(network) != best.value:
        sys.exit("The checkpoint is not the one that was reported.")


if __name__ == "__main__":
    settings = command(__doc__, Settings, "torch_trainer_in_tune.yaml").parse_args().settings
    main(settings, Path(tempfile.mkdtemp(prefix="torch_trainer_in_tune_")))
