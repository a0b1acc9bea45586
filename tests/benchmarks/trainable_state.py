"""Saving and restoring a class Trainable with a large state, as Tune does it for each checkpoint.

Run it:  python -m tests.benchmarks.trainable_state [--mib 500] [--rounds 7] [--folder FOLDER]

The same float32 state in a trial's own folder, by four Trainables in turn: ours in both formats,
Ray's own way (``save_checkpoint`` returns a dict, which Ray pickles), and RLlib's (its
`Checkpointable`, which pickles). What is timed is what Tune calls in the trial's process: ``save``,
which includes bringing the checkpoint to storage, and ``restore``; each follows one of its own
kind, which is not counted: a virtual machine pays for memory that it has not touched lately.
Medians, and how many times as long as ours in pickle the others take.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import ray
from ray import tune
from ray.rllib.utils.checkpoints import Checkpointable
from rich.console import Console
from rich.table import Table

import tune_ckpt as tc
from tests.benchmarks.async_save import timed
from tune_ckpt.tune import private

ARRAYS = 64


class Params:
    """So many MiB of parameters."""

    def setup(self, config: dict[str, float]) -> None:
        count = int(config["mib"] * 2**20 / ARRAYS / 4)
        rng = np.random.default_rng(1)
        self.params = {f"layer{i}": rng.random(count, np.float32) for i in range(ARRAYS)}

    def step(self) -> dict[str, float]:
        return {"loss": 0.0}

    def get_state(self, *args: object, **kwargs: object) -> dict[str, object]:
        return {"params": self.params}

    def set_state(self, state: dict[str, dict[str, np.ndarray]]) -> None:
        self.params = state["params"]


class Ours(Params, tc.CheckpointableTrainable):
    """Checkpoints are component trees, in pickle."""


class OursMsgpack(Ours):
    """The same in msgpack."""

    checkpoint_format = "msgpack"


class RayDict(Params, tune.Trainable):
    """Checkpoints are dicts, which Ray pickles."""

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, object]:
        return self.get_state()

    def load_checkpoint(self, checkpoint: dict[str, dict[str, np.ndarray]]) -> None:
        self.set_state(checkpoint)


class RLlibPickle(Params, Checkpointable, tune.Trainable):
    """Checkpoints are RLlib's, in pickle, as an Algorithm's are."""

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[object, ...], dict[str, object]]:
        return (self.config,), {}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.save_to_path(checkpoint_dir)

    def load_checkpoint(self, checkpoint: str) -> None:
        self.restore_from_path(checkpoint)


TRAINABLES = {
    "tune_ckpt, pickle": Ours,
    "tune_ckpt, msgpack": OursMsgpack,
    "Ray's dict": RayDict,
    "RLlib's pickle": RLlibPickle,
}


def measure(mib: float, rounds: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Return each one's median times to save and to restore, in seconds."""
    taken: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number in range(rounds):
        for name in [*TRAINABLES][:: 1 if number % 2 == 0 else -1]:
            place = private.storage(str(folder), "run", "trial", None)
            trainable = TRAINABLES[name]({"mib": mib}, storage=place)
            once(trainable)  # each after one of its own kind, in memory that the machine has ready
            taken[name].append(once(trainable))
    return {
        name: tuple(map(statistics.median, zip(*times, strict=True)))
        for name, times in taken.items()
    }


def once(trainable: Params) -> tuple[float, float]:
    """Save and restore; return how long each took, in seconds."""
    expected = trainable.params
    save, saved = timed(trainable.save)
    trainable.params = {}
    restore, _ = timed(lambda: trainable.restore(saved))
    np.testing.assert_equal(trainable.params, expected)
    shutil.rmtree(saved.checkpoint.path)
    return save, restore


def table(mib: float, rounds: int, taken: dict[str, tuple[float, float]]) -> Table:
    """Return the times, each with its ratio to ours."""
    title = f"a class Trainable's checkpoint of {mib:g} MiB, medians of {rounds}"
    made = Table("", "save", "x ours", "restore", "x ours", title=title)
    first = taken[next(iter(TRAINABLES))]
    for name in TRAINABLES:
        times = taken[name]
        pairs = zip(times, first, strict=True)
        cells = [text for t, own in pairs for text in (f"{t:.3f} s", f"{t / own:.2f}")]
        made.add_row(name, *cells)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=float, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    options = parser.parse_args()
    logging.getLogger("ray").setLevel(logging.WARNING)  # it tells of every save and restore
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        taken = measure(options.mib, options.rounds, Path(folder))
    Console(width=100).print(table(options.mib, options.rounds, taken))


if __name__ == "__main__":
    main()
