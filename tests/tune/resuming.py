"""Sweeps that are interrupted, for the tests of resume."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from ray import tune

import tune_ckpt as tc
from tests.tune.sweeps import rows
from tune_ckpt.tune import private

GOAL = {"metric": "height", "mode": "max"}
POPULATION = {"rate": tune.grid_search([1.0, 2.0, 3.0, 4.0])}


class Interrupted(Exception):
    """The driver's death."""


class Interrupt(tune.Callback):
    """Ends the driver's work after so many results.

    Args:
        after: How many results.
        saved: Whether to wait until the last of them has been saved.
        noted: Whether Tune notes the sweep's state just before.
    """

    def __init__(self, after: int, *, saved: bool = True, noted: bool = True) -> None:
        self.after, self.saved, self.noted = after, saved, noted
        self.results = 0
        self.unsaved = False

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.results += 1
        self.unsaved = True

    def on_trial_save(self, iteration, trials, trial, **info):
        self.unsaved = False

    def on_step_end(self, iteration, trials, **info):
        if self.results >= self.after and not (self.saved and self.unsaved):
            if self.noted:
                private.controller().checkpoint(force=True, wait=True)
            raise Interrupted


class Record(tune.Callback):
    """Writes down every result, in a file that no one else writes."""

    def __init__(self, file: str, *names: str) -> None:
        self.file, self.names = file, ("training_iteration", "height", *names)

    def on_trial_result(self, iteration, trials, trial, result, **info):
        facts = [trial.trial_id, *(result[name] for name in self.names)]
        with open(self.file, "a") as file:
            file.write(json.dumps([*facts, round(trial.config["rate"], 12)]) + "\n")


def recorded(file):
    """Return what a `Record` wrote, trials by the order in which they appeared."""
    found = rows(file)
    places = {trial: place for place, trial in enumerate(dict.fromkeys(row[0] for row in found))}
    return [(places[trial], *facts) for trial, *facts in found]


class Climber(tc.CheckpointableTrainable):
    """Climbs by its rate, with all that it has climbed as state."""

    checkpoint_format = "msgpack"

    def setup(self, config):
        self.height = config.get("from", 0.0)
        self.marks = []

    def step(self):
        self.height += self.config["rate"]
        self.marks.append(self.height)
        return {"height": self.height, "rate": self.config["rate"], "marks": len(self.marks)}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"height": self.height, "marks": self.marks}

    def set_state(self, state):
        self.height, self.marks = state["height"], list(state["marks"])

    def reset_config(self, new_config):
        self.config = new_config
        self.height, self.marks = new_config.get("from", 0.0), []
        return True


def new_tuner(
    storage,
    *callbacks,
    cls=Climber,
    stop=4,
    space=None,
    name="run",
    frequency=1,
    cpus=2,
    keep=None,
    reuse_actors=True,
    **options,
):
    """Return a sweep of one trial at a time (the tests' Ray has two CPUs)."""
    if cpus:
        cls = tune.with_resources(cls, {"cpu": cpus})
    return tune.Tuner(
        cls,
        param_space={"rate": tune.grid_search([1.0, 2.0])} if space is None else space,
        tune_config=tune.TuneConfig(reuse_actors=reuse_actors, **options),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            stop={"training_iteration": stop},
            callbacks=list(callbacks),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=frequency, num_to_keep=keep
            ),
        ),
    )


def interrupted(storage, after, *callbacks, saved=True, noted=True, **options):
    """Run a sweep until it is interrupted, and return its folder."""
    interrupt = Interrupt(after, saved=saved, noted=noted)
    tuner = new_tuner(storage, *callbacks, interrupt, **options)
    try:
        tuner.fit()
    except Interrupted:
        return Path(storage) / options.get("name", "run")
    raise AssertionError("the sweep ended before it was interrupted")


def resumed(path, cls=Climber, *, cpus=2, **options):
    """Resume a sweep without the interruption; the report is the Tuner's."""
    tuner = tc.resume(path, tune.with_resources(cls, {"cpu": cpus}), **options)
    callbacks = tuner._local_tuner.get_run_config().callbacks
    for callback in callbacks:
        if isinstance(callback, Interrupt):
            callback.after = 10**9
    return tuner


def seed(number):
    """Seed the random generators that schedulers use."""
    random.seed(number)
    np.random.seed(number)


def uninterrupted(storage, scheduler, stop, *names, **options):
    """Run a sweep to its end, and return what was recorded."""
    seed(1)
    record = Record(str(storage / "whole.txt"), *names)
    new_tuner(storage, record, stop=stop, scheduler=scheduler(), name="whole", **options).fit()
    return recorded(storage / "whole.txt")


def in_two_parts(storage, scheduler, stop, after, *callbacks, names=(), cls=Climber, **options):
    """Run a sweep that is interrupted and resumed; return what was recorded, and the report."""
    seed(1)
    record = Record(str(storage / "parts.txt"), *names)
    options = {"stop": stop, "scheduler": scheduler(), "cls": cls, **options}
    path = interrupted(storage, after, record, *callbacks, **options)
    seed(2)
    tuner = resumed(path, cls)
    tuner.fit()
    return recorded(storage / "parts.txt"), tuner.report


def results_of(folder):
    """Return each trial's results: the last word on every iteration."""
    return {row["training_iteration"]: row for row in rows(folder / "result.json")}


def story(path):
    """Return what every trial of a sweep did, by the order of trial ids."""
    found = {}
    for file in sorted(Path(path).glob("*/result.json")):
        results = results_of(file.parent)
        trial = next(iter(results.values()))["trial_id"].rpartition("_")[2]
        found[trial] = [
            (number, row["height"], row["rate"], row["marks"])
            for number, row in sorted(results.items())
        ]
    return found


def reported(path):
    """Return how often each trial reported each iteration."""
    counts = {}
    for file in sorted(Path(path).glob("*/result.json")):
        counts[file.parent.name] = [row["training_iteration"] for row in rows(file)]
    return counts
