"""Ray actors whose classes are others': RLlib's `Checkpointable`, and one with torch's methods."""

from __future__ import annotations

import numpy as np
import torch
from ray.rllib.utils.actor_manager import FaultAwareApply
from ray.rllib.utils.checkpoints import Checkpointable

from tests.workers import Pid


class Part(Checkpointable):
    """One array, as RLlib's users write it."""

    def __init__(self, value=0):
        self.w = np.full(600, float(value))

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w}

    def set_state(self, state):
        self.w = state["w"]

    def get_ctor_args_and_kwargs(self):
        return (), {}


class RllibWorker(Part, FaultAwareApply, Pid):
    """Two levels, and RLlib's way to leave out what is saved apart."""

    def __init__(self, value=0):
        super().__init__(value)
        self.part = Part(value + 1)

    def get_state(self, components=None, *, not_components=None, **kwargs):
        state = {"w": self.w}
        if self._check_component("part", components, not_components):
            state["part"] = self.part.get_state()
        return state

    def set_state(self, state):
        super().set_state(state)
        if "part" in state:
            self.part.set_state(state["part"])

    def get_checkpointable_components(self):
        return [("part", self.part)]

    def seen(self):
        return self.w[0], self.part.w[0]


class TorchWorker(Pid):
    """An actor with torch's pair of methods (a module itself cannot be one: Ray changes it)."""

    def __init__(self, value=0):
        self.net = torch.nn.Linear(20, 30)
        torch.nn.init.constant_(self.net.weight, value)
        torch.nn.init.constant_(self.net.bias, value + 1)

    def state_dict(self):
        return self.net.state_dict()

    def load_state_dict(self, state):
        self.net.load_state_dict(state)

    def seen(self):
        return float(self.net.weight[0, 0]), float(self.net.bias[0])
