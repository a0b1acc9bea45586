"""Trainables that the Tune tests share; imported by the trials' processes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import tune_ckpt as tc
from tests.agents import Weights


class Walker(tc.CheckpointableTrainable):
    """A random walk with a component: every step depends on all before it."""

    def setup(self, config):
        self.rng = np.random.default_rng(config.get("seed", 0))
        self.weights = Weights(3)
        self.path = []

    def step(self):
        self.weights.w = self.weights.w + self.rng.normal(size=3)
        self.path.append(float(self.weights.w.sum()))
        score = self.config.get("scores", {}).get(self.iteration, self.path[-1])
        return {"walk": {"at": self.path[-1]}, "score": score}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"rng": self.rng, "path": self.path, "as_tuple": tuple(self.path[-2:])}

    def set_state(self, state):
        self.rng, self.path = state["rng"], list(state["path"])

    def get_checkpointable_components(self):
        return [("weights", self.weights)]


class MsgpackWalker(Walker):
    checkpoint_format = "msgpack"


def side_by_side(folder, trial_id, step):
    """Wait for the other one of two trials: neither is more than one step ahead."""
    Path(folder, f"{trial_id}-{step}").touch()
    while len([*Path(folder).glob(f"*-{step}")]) < 2:
        time.sleep(0.01)
