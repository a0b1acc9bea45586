"""Sweeps of any size for the benchmarks: copies of a small one that Ray itself has run."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
from itertools import cycle, islice
from pathlib import Path

from ray import tune

TEMPLATES, RESULTS = 4, 20
METRIC = "eval/score"


def _metrics(name: int, iteration: int) -> dict:
    numbers = random.Random(name * 1000 + iteration)
    return {"eval": {"score": numbers.random()}} | {f"loss_{i}": numbers.random() for i in range(9)}


class Trainable(tune.Trainable):
    """Its results do not name their checkpoints."""

    def reset_config(self, new_config):
        return True

    def step(self):
        return _metrics(self.config["name"], self.iteration)

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "weights.bin").write_bytes(bytes(100))

    def load_checkpoint(self, checkpoint):
        pass


def function(config):
    """Its results name their checkpoints."""
    for iteration in range(RESULTS):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "weights.bin").write_bytes(bytes(100))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report(_metrics(config["name"], iteration), checkpoint=checkpoint)


TRAINABLES = {"class": Trainable, "function": function}


def run_template(folder: Path, kind: str) -> Path:
    """Let Ray run a small sweep of 20 results a trial, all with checkpoints."""
    every = tune.CheckpointConfig(checkpoint_frequency=1 if kind == "class" else 0)
    tuner = tune.Tuner(
        TRAINABLES[kind],
        param_space={"name": tune.grid_search(list(range(TEMPLATES)))},
        tune_config=tune.TuneConfig(reuse_actors=kind == "class", max_concurrent_trials=2),
        run_config=tune.RunConfig(
            name=f"{kind}-template",
            storage_path=str(folder),
            stop={"training_iteration": RESULTS},
            checkpoint_config=every,
            verbose=0,
        ),
    )
    return Path(tuner.fit().experiment_path)


def grow(template: Path, target: Path, trials: int) -> Path:
    """Write a sweep of copies of a template's trials, each with an id of its own."""
    (source,) = template.glob("experiment_state-*.json")
    state = json.loads(source.read_text())
    entries = {json.loads(entry[0])["trial_id"]: entry for entry in state["trial_data"]}
    folders = {old: next(template.glob(f"*_{old}_*")) for old in entries}
    target.mkdir(parents=True)
    grown = []
    for number, old in enumerate(islice(cycle(sorted(entries)), trials)):
        new = f"{old[:5]}_{number:05}"
        _copy(folders[old], target / folders[old].name.replace(old, new), old, new)
        grown.append([_renamed(text, old, new) for text in entries[old]])
    (target / source.name).write_text(json.dumps({**state, "trial_data": grown}))
    shutil.copyfile(template / "tuner.pkl", target / "tuner.pkl")
    return target


def _copy(folder: Path, target: Path, old: str, new: str) -> None:
    target.mkdir()
    for name in ("params.json", "result.json", "params.pkl"):
        data = (folder / name).read_bytes()
        (target / name).write_bytes(data.replace(old.encode(), new.encode()))
    for checkpoint in folder.glob("checkpoint_*"):
        (target / checkpoint.name).mkdir()
        for file in checkpoint.iterdir():
            _link(file, target / checkpoint.name / file.name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # there are only so many links to a file
        shutil.copyfile(source, target)


def _renamed(text: str, old: str, new: str) -> str:
    # Within the pickles too: the ids are equally long.
    pattern = re.compile(f"{old}|{old.encode().hex()}")
    return pattern.sub(lambda found: new if found[0] == old else new.encode().hex(), text)
