"""Ray actors of every kind that can be a component, and their group's owner."""

from __future__ import annotations

import itertools
import os
import signal
from collections import defaultdict

import numpy as np
import ray

import tune_ckpt
from tests.agents import Agent, Weights, trained


class Pid:
    """What tests ask of any actor."""

    def pid(self):
        return os.getpid()

    def begin(self, *args):
        """Be as newly made."""
        vars(self).clear()
        self.__init__(*args)


class AgentWorker(Agent, Pid):
    """A Checkpointable of ours, of three levels."""

    def take(self, step):
        other = trained(step=step, size=self.size)
        self.step, self.shape, self.model = step, other.shape, other.model

    def seen(self):
        return self.step, self.shape, self.model.w.sum(), self.model.head.w.tolist()

    def train(self):
        self.model.w += 1  # fails where arrays are read-only
        return self.model.w.flags.owndata

    def refuse(self):
        self.set_state = None  # not callable


class GrowingWorker(Agent, Pid):
    """Its state tells which components it has; it knows but some of them."""

    def __init__(self, names):
        self.parts = {name: _ones() for name in names}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"names": list(self.parts)}

    def set_state(self, state):
        known = [name for name in state["names"] if name != "unknown"]
        self.parts = {name: self.parts.get(name, Weights(2)) for name in known}

    def get_ctor_args_and_kwargs(self):
        return (list(self.parts),), {}

    def get_checkpointable_components(self):
        return list(self.parts.items())

    def seen(self):
        return {name: part.w.tolist() for name, part in self.parts.items()}


def _ones():
    part = Weights(2)
    part.w += 1
    return part


class PlainWorker(Pid):
    """Nothing but get_state and set_state."""

    def __init__(self, value=0):
        self.value = np.full(3000, float(value))

    def get_state(self):
        return {"value": self.value}

    def set_state(self, state):
        self.value = state["value"]

    def seen(self):
        return self.value.tolist()[0]


class HeadlessWorker(Weights, Pid):
    """A Checkpointable without components."""


class StatelessWorker(Pid):
    """Nothing that could be saved."""


class Owner(tune_ckpt.Checkpointable):
    """An object with actors, and a step of its own."""

    def __init__(self, actors=None):
        self.actors = actors
        self.step = 0

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"step": self.step}

    def set_state(self, state):
        self.step = state["step"]

    def get_checkpointable_components(self):
        return [("actors", self.actors)]


def start(cls, count=3, *args, **options):
    """Start actors of a class, and wait until they are there."""
    actors = [ray.remote(num_cpus=0, **options)(cls).remote(*args) for _ in range(count)]
    ray.get([actor.pid.remote() for actor in actors])
    return actors


class Pool:
    """Gives tests actors that others have given back: each is a process, which is slow to start."""

    def __init__(self):
        self._idle, self._taken = defaultdict(list), []

    def take(self, cls, count=3, *args):
        """Return actors that are as newly made."""
        idle = self._idle[cls]
        again = [idle.pop() for _ in range(min(count, len(idle)))]
        for actor in again:
            begin(actor, *args)
        actors = again + start(cls, count - len(again), *args)
        self._taken += [(cls, actor) for actor in actors]
        return actors

    def give_back(self):
        """Keep those that are alive."""
        for cls, actor in self._taken:
            try:
                ray.get(actor.pid.remote())
                self._idle[cls].append(actor)
            except ray.exceptions.RayActorError:
                pass
        self._taken.clear()

    def close(self):
        for actor in itertools.chain(*self._idle.values()):
            ray.kill(actor)


def kill(actor):
    """Kill an actor by Ray, and wait until callers notice."""
    ray.kill(actor)
    _wait_until_dead(actor)


def kill_process(actor):
    """Kill an actor's process, as the kernel would, and wait until callers notice."""
    os.kill(ray.get(actor.pid.remote()), signal.SIGKILL)
    _wait_until_dead(actor)


def _wait_until_dead(actor):
    try:
        while True:
            ray.get(actor.pid.remote())
    except ray.exceptions.RayActorError:
        pass


def begin(actor, *args):
    """Let an actor be as newly made."""
    ray.get(actor.begin.remote(*args))


def seen(actors):
    """Return what the actors hold."""
    return ray.get([actor.seen.remote() for actor in actors])
