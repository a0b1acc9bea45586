"""Trees with as many components as wished, by name."""

import numpy as np

from tests.agents import Weights


class Team(Weights):
    """A node with as many subcomponents as wished, by name."""

    def __init__(self, **members):
        super().__init__(1)
        self.members = members

    def get_checkpointable_components(self):
        return list(self.members.items())

    def get_ctor_args_and_kwargs(self):
        return (), {}


class Growing(Team):
    """Its state says which subcomponents it has; it may refuse some."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w, "names": list(self.members)}

    def set_state(self, state):
        super().set_state(state)
        known = [name for name in state["names"] if name != "unknown"]
        self.members = {name: self.members.get(name, weights(0)) for name in known}


def weights(*numbers):
    leaf = Weights(len(numbers))
    leaf.w = np.array(numbers, dtype=float)
    return leaf


def team(**members):
    made = Team(**{name: weights(*numbers) for name, numbers in members.items()})
    made.w = np.array([9.0])
    return made


def growing(**members):
    return Growing(**{name: weights(*numbers) for name, numbers in members.items()})


def values(owner):
    return {name: member.w.tolist() for name, member in owner.members.items()}
