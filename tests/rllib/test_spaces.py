"""Spaces of every generation, as plain data."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest

from tests.rllib.cases import every_case, one
from tune_ckpt.errors import CorruptDataError, NotInCheckpointError
from tune_ckpt.rllib import load_spaces

gymnasium = pytest.importorskip("gymnasium")


@every_case
def test_they_are_plain_data_of_the_right_shape(case):
    found = load_spaces(case.path)
    for spaces in (found,) if "action_space" in found else found.values():
        box = spaces["observation_space"]
        assert (box["space"], box["shape"], box["dtype"]) == ("box", (4,), "float32")
        assert box["high"].dtype == box["low"].dtype == "f4"
        assert (box["low"] == -box["high"]).all()
        assert spaces["action_space"] == {"space": "discrete", "n": 2, "start": 0}


@every_case
def test_they_are_what_its_own_ray_says(case):
    if "observation_space" not in case.expected:
        pytest.skip("it does not say")
    found = load_spaces(case.path)["observation_space"]
    box = gymnasium.spaces.Box(found["low"], found["high"], found["shape"], found["dtype"])
    assert repr(box) == case.expected["observation_space"]


SPACES = gymnasium.spaces
KINDS = [
    SPACES.Box(-1, 1, (2, 3), "float64"),
    SPACES.Box(np.array([0, -np.inf], "f4"), np.array([5, np.inf], "f4")),
    SPACES.Discrete(5, start=-2),
    SPACES.MultiDiscrete([3, 4]),
    SPACES.MultiBinary(6),
    SPACES.Dict({"b": SPACES.Discrete(2), "a": SPACES.Tuple([SPACES.Box(0, 1, (1,))])}),
    SPACES.Text(7, min_length=2, charset="abc"),
]


def _module(folder, space):
    folder.mkdir()
    ctor = {"class": dict, "ctor_args_and_kwargs": ((), {"observation_space": space})}
    (folder / "class_and_ctor_args.pkl").write_bytes(pickle.dumps(ctor))
    (folder / "module_state.pkl").write_bytes(pickle.dumps({}))
    return load_spaces(folder)["observation_space"]


def _policy(folder, space):
    from ray.rllib.utils.serialization import space_to_dict

    folder.mkdir()
    state = {"weights": {}, "policy_spec": {"observation_space": space_to_dict(space)}}
    (folder / "policy_state.pkl").write_bytes(pickle.dumps(state))
    return load_spaces(folder)["observation_space"]


@pytest.mark.slow
@pytest.mark.parametrize("space", KINDS, ids=lambda space: type(space).__name__)
def test_every_kind_is_the_same_from_its_object_and_from_rllibs_json(tmp_path, space):
    of_object, of_json = _module(tmp_path / "m", space), _policy(tmp_path / "p", space)
    np.testing.assert_equal(of_object, of_json)
    assert of_object["space"].replace("-", "") == type(space).__name__.lower()


class PolicySpec(NamedTuple):
    """As Ray 1 has it."""

    policy_class: object
    observation_space: object
    action_space: object
    config: object


@pytest.mark.parametrize("kind", [PolicySpec, lambda *values: values], ids=["named", "plain"])
def test_specs_of_ray_1_are_tuples(tmp_path, kind):
    specs = {"p": kind(None, SPACES.Discrete(3), SPACES.MultiBinary(2), {})}
    worker = {"state": {"p": {"weights": {}}}, "policy_specs": specs}
    (tmp_path / "checkpoint-3").write_bytes(pickle.dumps({"worker": pickle.dumps(worker)}))
    found = load_spaces(tmp_path)
    assert found["observation_space"] == {"space": "discrete", "n": 3, "start": 0}
    assert found["action_space"] == {"space": "multi-binary", "n": 2}


def test_a_space_of_the_users_own_is_told_by_its_fields(tmp_path):
    assert _module(tmp_path / "m", Own(3)) == {"space": "own", "size": 3}


class Own:
    def __init__(self, size):
        self.size = size


def test_where_nothing_tells_them_that_is_said(tmp_path):
    (tmp_path / "policy_state.pkl").write_bytes(pickle.dumps({"weights": {}}))
    with pytest.raises(NotInCheckpointError, match="those of its environment"):
        load_spaces(tmp_path)


def test_a_malformed_space_is_named(tmp_path):
    spec = {"observation_space": {"space": "box", "low": "!", "shape": [1], "dtype": "f4"}}
    state = {"weights": {}, "policy_spec": spec}
    (tmp_path / "policy_state.pkl").write_bytes(pickle.dumps(state))
    with pytest.raises(CorruptDataError, match=r"policy_state\.pkl: it holds a malformed space"):
        load_spaces(tmp_path)


def test_one_of_several_is_asked_for_by_its_id():
    path = one("ray2.60.0-py3.13").path
    assert load_spaces(path, "p1").keys() == {"observation_space", "action_space"}
    assert load_spaces(path).keys() == {"p0", "p1"}
