"""Spaces that are written again, as Gymnasium pickles them and as RLlib's JSON."""

import pickle

import numpy as np
import pytest

from tune_ckpt.errors import UnsupportedStateError
from tune_ckpt.formats.pickle import loads_inert
from tune_ckpt.rllib.converting.json_spaces import space_to_dict
from tune_ckpt.rllib.converting.pickled_spaces import space_object
from tune_ckpt.rllib.converting.pickling import dumps
from tune_ckpt.rllib.reading.spaces import space_of

SPACES = pytest.importorskip("gymnasium").spaces

NODES, EDGES = SPACES.Box(-1, 1, (3,)), SPACES.Discrete(4)
KINDS = [
    SPACES.Box(-1, 1, (2, 3), "float64"),
    SPACES.Box(np.array([0, -np.inf], "f4"), np.array([5, np.inf], "f4")),
    SPACES.Discrete(5, start=-2),
    SPACES.MultiDiscrete([3, 4]),
    SPACES.MultiDiscrete(np.array([[3, 4], [2, 2]]), start=[[1, 0], [0, 2]]),
    SPACES.MultiBinary(6),
    SPACES.MultiBinary([2, 3]),
    SPACES.Dict({"b": SPACES.Discrete(2), "a": SPACES.Tuple([SPACES.Box(0, 1, (1,)), EDGES])}),
    SPACES.Text(7, min_length=2, charset="abc"),
    SPACES.Sequence(SPACES.Box(0, 1, (2,))),
    SPACES.Graph(NODES, EDGES),
    SPACES.Graph(NODES, None),
]
each_kind = pytest.mark.parametrize("space", KINDS, ids=repr)


def _told(space):
    return space_of(loads_inert(pickle.dumps(space), file="space"), "space")


@each_kind
def test_a_pickled_space_is_the_one_that_it_was(space):
    again = pickle.loads(dumps(space_object(_told(space))))
    assert type(again) is type(space)
    assert again == space
    assert again.contains(space.sample())
    again.seed(3), space.seed(3)
    np.testing.assert_equal(again.sample(), space.sample())


@pytest.mark.slow
def test_rllib_reads_the_json_of_the_kinds_that_it_has_json_for():
    from ray.rllib.utils.serialization import space_from_dict

    for space in KINDS[:-3]:  # neither sequences nor graphs
        assert space_from_dict(space_to_dict(_told(space))) == space


@pytest.mark.slow
def test_rllibs_own_spaces_are_written_too():
    from ray.rllib.utils.serialization import space_from_dict
    from ray.rllib.utils.spaces.repeated import Repeated
    from ray.rllib.utils.spaces.simplex import Simplex

    repeated, simplex = Repeated(SPACES.Discrete(3), 5), Simplex((3,), np.ones(3))
    again = [pickle.loads(dumps(space_object(_told(space)))) for space in (repeated, simplex)]
    assert (again[0].child_space, again[0].max_len) == (repeated.child_space, 5)
    assert again[1] == space_from_dict(space_to_dict(_told(simplex))) == simplex
    assert space_from_dict(space_to_dict(_told(repeated))).max_len == 5


def test_the_space_before_preprocessing_is_kept():
    space, before = SPACES.Box(-1, 1, (5,)), KINDS[7]
    space.original_space = before
    assert pickle.loads(dumps(space_object(_told(space)))).original_space == before
    assert space_to_dict(_told(space))["original_space"]["space"]["space"] == "dict"


def test_a_space_of_an_unknown_kind_is_refused_by_its_name():
    with pytest.raises(UnsupportedStateError, match="'own'"):
        space_object({"space": "own", "size": 3})
