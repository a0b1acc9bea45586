"""A class Trainable in a sweep that is killed midway, resumes, and hands back its best checkpoint.

Run it:  python examples/digits_sweep.py

Eight trials train a small network on scikit-learn's digits under ASHA. The process that drives the
sweep is killed with SIGKILL and another resumes it. Then the best checkpoint of all trials is found
in the sweep's folder, verified, and exported as msgpack; a process in which Ray is never imported
loads it and measures its accuracy again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from digits_model import Momentum, Network, accuracy, digits, gradients
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from rich.console import Console
from rich.table import Table
from settings import command

import tune_ckpt as tc

NAME = "digits"


@dataclass
class Search:
    """What is searched."""

    learning_rate: list[float]
    momentum: list[float]
    hidden: list[int]
    batch_size: list[int]


@dataclass
class Asha:
    """How early trials are stopped."""

    grace_period: int
    reduction_factor: int


@dataclass
class Settings:
    """What configs/digits_sweep.yaml says."""

    trials: int
    metric: str
    mode: str
    seed: int
    iterations: int
    epochs_per_iteration: int
    kill_after_checkpoints: int
    search: Search
    asha: Asha


class Digits(tc.CheckpointableTrainable):
    """One trial: its network and optimizer are components, its generator is state."""

    def setup(self, config):
        """Make the network, the optimizer and the data."""
        self.network = Network(config["hidden"], config["seed"])
        self.optimizer = Momentum(self.network, config["learning_rate"], config["momentum"])
        self.rng = np.random.default_rng(config["seed"])
        self.data = digits()

    def step(self):
        """Train for some epochs, and measure the accuracy."""
        images, labels, held_out, held_out_labels = self.data
        for _ in range(self.config["epochs"]):
            order = self.rng.permutation(len(images))
            for batch in np.array_split(order, len(order) // self.config["batch_size"]):
                self.optimizer.step(gradients(self.network.weights, images[batch], labels[batch]))
        return {"eval": {"accuracy": accuracy(self.network.weights, held_out, held_out_labels)}}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        """Return what is no component: the order of the batches to come."""
        return {"rng": self.rng}

    def set_state(self, state):
        """Take it from a checkpoint."""
        self.rng = state["rng"]

    def get_checkpointable_components(self):
        """Return the components, each of which is saved in a folder of its own."""
        return [("network", self.network), ("optimizer", self.optimizer)]


def new_tuner(settings: Settings, storage: Path) -> tune.Tuner:
    """Return the sweep that the YAML file describes."""
    search = settings.search
    space = {
        "learning_rate": tune.loguniform(*search.learning_rate),
        "momentum": tune.uniform(*search.momentum),
        "hidden": tune.choice(search.hidden),
        "batch_size": tune.choice(search.batch_size),
        "epochs": settings.epochs_per_iteration,
        "seed": settings.seed,
    }
    metric, mode = settings.metric, settings.mode
    return tune.Tuner(
        Digits,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric=metric,
            mode=mode,
            num_samples=settings.trials,
            scheduler=ASHAScheduler(max_t=settings.iterations, **asdict(settings.asha)),
            search_alg=tune.search.BasicVariantGenerator(random_state=settings.seed),
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(storage),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            callbacks=[tc.CheckpointCallback(convert="best", metric=metric, mode=mode)],
        ),
    )


def drive(settings: Settings, storage: Path, *, resume: bool) -> None:
    """Run the sweep in this process: anew, or on from where another process was killed."""
    tuner = tc.resume(storage / NAME, Digits) if resume else new_tuner(settings, storage)
    tuner.fit()


def start_driver(storage: Path, *options: str) -> subprocess.Popen:
    """Start a process that drives the sweep."""
    # Ray notes the sweep's state every 10 s; this sweep is too short to wait for that.
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "1", "RAY_DEDUP_LOGS": "0"}
    driver = [sys.executable, *sys.argv, "--drive", str(storage), *options]
    log = (storage / "driver.log").open("a")
    return subprocess.Popen(driver, env=environment, stdout=log, stderr=log)


def checkpoints(storage: Path) -> int:
    """Return how many checkpoints the trials have written."""
    return len(list((storage / NAME).glob("*/checkpoint_*/metadata.json")))


def kill_midway(driver: subprocess.Popen, storage: Path, after: int) -> int:
    """Kill the driver once it has written some checkpoints; return how many."""
    while checkpoints(storage) < after:
        if driver.poll() is not None:
            sys.exit((storage / "driver.log").read_text())
        time.sleep(0.2)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    return checkpoints(storage)


def used_without_ray(checkpoint: Path) -> float:
    """Return the accuracy that a fresh process measures, in which Ray is never imported."""
    script = Path(__file__).with_name("load_without_ray.py")
    used = [sys.executable, str(script), str(checkpoint)]
    return float(subprocess.run(used, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main(settings: Settings, storage: Path) -> None:
    """Run the whole story and print what happened."""
    console = Console()
    console.print("Sweeping; the driver will be killed midway ...")
    killed_at = kill_midway(start_driver(storage), storage, settings.kill_after_checkpoints)
    console.print(f"Killed the driver (SIGKILL) after {killed_at} checkpoints. Resuming ...")
    if start_driver(storage, "--resume").wait() != 0:
        sys.exit((storage / "driver.log").read_text())

    best = tc.best_checkpoint(storage / NAME, metric=settings.metric, mode=settings.mode)
    verified = tc.verify(best.path)
    exported = storage / "best"
    best.export(exported)
    again = used_without_ray(exported)

    table = Table(title="Best checkpoint of the sweep", show_header=False)
    table.add_row("trial, iteration", f"{best.trial_id}, {best.iteration}")
    table.add_row("of checkpoints", str(checkpoints(storage)))
    table.add_row("verified", f"{'yes' if verified.ok else 'NO'}, {verified.nbytes:,} bytes")
    table.add_row("hyperparameters", ", ".join(f"{k} {v:.4g}" for k, v in best.config.items()))
    table.add_row("accuracy, as reported", repr(best.value))
    table.add_row("accuracy, without Ray", repr(again))
    table.add_row("runner-up", f"{best.runner_up.value!r}" if best.runner_up else "none")
    table.add_row("exported as msgpack", str(exported))
    console.print(table)
    if again != best.value or not verified.ok:
        sys.exit("The exported checkpoint is not the one that was reported.")


if __name__ == "__main__":
    parser = command(__doc__, Settings, "digits_sweep.yaml")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.settings, options.drive, resume=options.resume)
    else:
        main(options.settings, Path(tempfile.mkdtemp(prefix="digits_sweep_")))
