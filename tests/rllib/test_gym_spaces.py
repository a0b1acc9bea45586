"""Spaces from plain data to Gymnasium's own, and back."""

import numpy as np
import pytest
from gymnasium import spaces

from tests.rllib.cases import COMMITTED
from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.formats.pickle import loads_inert
from tune_ckpt.rllib import load_spaces
from tune_ckpt.rllib.reading.spaces import space_of
from tune_ckpt.rllib.restoring.gym_spaces import make_space

SPACES = [
    spaces.Box(-1, np.inf, (2, 3), np.float64),
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Discrete(5, start=-1),
    spaces.MultiBinary([2, 2]),
    spaces.MultiDiscrete([3, 4]),
    spaces.MultiDiscrete([3, 4], start=[1, 2]),
    spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Tuple([spaces.MultiBinary(3)])}),
    spaces.Text(5, min_length=2, charset="abc"),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_that_was_pickled_is_made_again(space):
    import pickle

    plain = space_of(loads_inert(pickle.dumps(space), file="f"), "f")
    assert make_space(plain, "f") == space


@pytest.mark.parametrize("case", COMMITTED, ids=lambda case: case.name)
def test_every_cases_spaces_are_made(case):
    told = load_spaces(case.path)
    one = told if "action_space" in told else next(iter(told.values()))
    assert make_space(one["action_space"], "f") == spaces.Discrete(2)
    assert make_space(one["observation_space"], "f").shape == (4,)


def test_a_space_before_preprocessing_comes_along():
    box = {"space": "box", "low": 0.0, "high": 1.0, "shape": (2,), "dtype": "float32"}
    made = make_space({**box, "original_space": {"space": "discrete", "n": 2}}, "f")
    assert made.original_space == spaces.Discrete(2)


def test_a_strange_space_is_refused():
    with pytest.raises(NotInCheckpointError, match="it is a 'mine'"):
        make_space({"space": "mine"}, "f")
