"""Sweeps at random, for as long as is wanted: schedulers, failures, kills and options, all mixed.

Run it:  python -m tests.soak_sweeps [--minutes 5] [--seed 0]

After each sweep: no trial failed, each one's values are those of an uninterrupted one (unless a
scheduler gave it another trial's), every checkpoint that is left is whole, and so is what was
converted and pinned. What was drawn is printed first, so that a failure can be run again with the
seed that is printed with it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import ray
from ray import tune
from ray.tune import schedulers

import tune_ckpt as tc
from tests.tune.trainables import MsgpackWalker, Walker

STEPS = 6
FAULTS = [None, "raise", "kill", "kill worker"]


class _Faulty:
    """Fails once, in the middle, as its config says; can be given another config."""

    def step(self):
        result = super().step()
        fault = self.config["fault"]
        name = "all" if fault == "kill worker" else self.trial_id
        marker = Path(self.config["folder"], f"fault_{name}")
        if fault and len(self.path) == 3 and not marker.exists():
            marker.touch()
            _do(fault)
        return result

    def reset_config(self, new_config):
        self.config = new_config
        self.setup(new_config)
        return True


class FaultyWalker(_Faulty, Walker):
    """In pickle."""


class FaultyMsgpackWalker(_Faulty, MsgpackWalker):
    """In msgpack."""


def _do(fault: str) -> None:
    if fault == "raise":
        raise RuntimeError("planned")
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raylet = os.getppid()  # the callback's worker has the same parent
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet and b"_Process" in (folder / "cmdline").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)


def _scheduler(name: str) -> object:
    options = {"metric": "score", "mode": "max", "time_attr": "training_iteration"}
    if name == "asha":
        return schedulers.ASHAScheduler(max_t=STEPS, grace_period=2, **options)
    if name == "hyperband":
        return schedulers.HyperBandScheduler(max_t=STEPS, reduction_factor=2, **options)
    if name == "pbt":
        mutations = {"lr": [1.0, 2.0]}
        return schedulers.PopulationBasedTraining(
            perturbation_interval=2, hyperparam_mutations=mutations, **options
        )
    return None


def draw(numbers: random.Random) -> dict:
    """Return what a sweep is like."""
    convert = numbers.choice(["never", "best", "last", "all", "at end"])
    retained = numbers.random() < 0.3
    scheduler = numbers.choice(["none", "asha", "hyperband", "pbt"])
    # With two or less Ray deletes what PBT is about to restore, as it warns itself.
    few = [None, 4] if scheduler == "pbt" else [None, 1, 2]
    return {
        "class": numbers.choice([FaultyWalker, FaultyMsgpackWalker]).__name__,
        "scheduler": scheduler,
        "fault": numbers.choice(FAULTS),
        "trials": numbers.randint(1, 4),
        "reuse_actors": numbers.random() < 0.5,
        "keep": None if retained else numbers.choice(few),
        "retained": retained,
        "callback": {
            "convert": convert,
            "metric": "score",
            "verify": numbers.random() < 0.5,
            "pin_best": numbers.random() < 0.5,
        },
    }


def run(drawn: dict, folder: Path) -> tuple[tune.ResultGrid, tc.CheckpointCallback]:
    """Run one sweep."""
    retention = (
        tc.Retention(keep_last=1, keep_best=1, metric="score") if drawn["retained"] else None
    )
    callback = tc.CheckpointCallback(retention=retention, **drawn["callback"])
    checkpoints = tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=drawn["keep"])
    tuner = tune.Tuner(
        globals()[drawn["class"]],
        param_space={
            "seed": tune.grid_search(list(range(drawn["trials"]))),
            "lr": 1.0,
            "fault": drawn["fault"],
            "folder": str(folder),
        },
        tune_config=tune.TuneConfig(
            scheduler=_scheduler(drawn["scheduler"]), reuse_actors=drawn["reuse_actors"]
        ),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(folder),
            verbose=0,
            stop={"training_iteration": STEPS},
            callbacks=[callback],
            checkpoint_config=checkpoints,
            failure_config=tune.FailureConfig(max_failures=2),
        ),
    )
    return tuner.fit(), callback


def check(drawn: dict, results: tune.ResultGrid) -> None:
    """Fail if anything is not as it should be."""
    assert not results.errors, results.errors
    experiment = Path(results.experiment_path)
    for result in results:
        rows = map(json.loads, (Path(result.path) / "result.json").read_text().splitlines())
        values = {row["training_iteration"]: row["walk"]["at"] for row in rows}
        walker = Walker({"seed": result.config["seed"]})
        if drawn["scheduler"] != "pbt":
            expected = {n: walker.train()["walk"]["at"] for n in range(1, len(values) + 1)}
            assert values == expected, (values, expected)
    for path in [*experiment.glob("*/checkpoint_*"), *experiment.glob("*/msgpack/checkpoint_*")]:
        assert tc.verify(path).ok, path
    assert not [path for path in experiment.rglob("*") if ".tune_ckpt-" in path.name]
    options = drawn["callback"]
    if options["pin_best"]:
        assert tc.verify(tc.pinned_checkpoint(experiment)).ok
    if options["verify"] or options["pin_best"] or options["convert"] != "never":
        report = json.loads((experiment / "tune_ckpt_report.json").read_text())
        assert not report["summary"]["causes"], report["summary"]
    assert tc.best_checkpoint(results, "score", "max").load()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    end, seed = time.monotonic() + 60 * options.minutes, options.seed
    while time.monotonic() < end:
        drawn = draw(random.Random(seed))
        print(f"--seed {seed}: {drawn}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            results, _ = run(drawn, Path(folder))
            check(drawn, results)
        seed += 1
    print(f"{seed - options.seed} sweeps, all as they should be")


if __name__ == "__main__":
    main()
