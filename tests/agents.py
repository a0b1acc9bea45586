"""Small Checkpointables that several test modules save and restore."""

from __future__ import annotations

import textwrap

import numpy as np

import tune_ckpt


class Weights(tune_ckpt.Checkpointable):
    """A leaf: one array."""

    def __init__(self, size=4):
        self.size = size
        self.w = np.zeros(size)

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w}

    def set_state(self, state):
        self.w = state["w"]

    def get_ctor_args_and_kwargs(self):
        return (self.size,), {}


class Agent(tune_ckpt.Checkpointable):
    """Two levels: a model with a leaf below it, and state of its own."""

    def __init__(self, size=4, *, name="agent"):
        self.size = size
        self.name = name
        self.step = 0
        self.shape = (1, 2)
        self.model = Model(size)

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"step": self.step, "shape": self.shape}

    def set_state(self, state):
        self.step = state["step"]
        self.shape = state["shape"]

    def get_ctor_args_and_kwargs(self):
        return (self.size,), {"name": self.name}

    def get_checkpointable_components(self):
        return [("model", self.model)]


class Model(Weights):
    """A node with a subcomponent."""

    def __init__(self, size=4):
        super().__init__(size)
        self.head = Weights(2)

    def get_checkpointable_components(self):
        return [("head", self.head)]


class Secretive(Weights):
    """Its state holds an object of a class that only a trusted pickle may name."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": textwrap.TextWrapper(width=3)}


def trained(step=7, size=500, name="agent"):
    """An agent whose every number can be told from the initial one."""
    agent = Agent(size, name=name)
    agent.step = step
    agent.shape = (3, (4, 5))
    agent.model.w = np.arange(size) + float(step)
    agent.model.head.w = np.array([step, -step], dtype="f4")
    return agent


def same_agents(a, b):
    """Whether two agents are equal, types included."""
    return (
        (a.size, a.name, a.step, a.shape) == (b.size, b.name, b.step, b.shape)
        and type(a.shape) is type(b.shape)
        and np.array_equal(a.model.w, b.model.w)
        and np.array_equal(a.model.head.w, b.model.head.w)
        and a.model.head.w.dtype == b.model.head.w.dtype
    )
