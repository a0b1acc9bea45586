"""What of a stored configuration reaches RLlib without trust: nothing that it would import."""

import pickle

import gymnasium as gym
import pytest

from tune_ckpt.formats.pickle import loads_inert
from tune_ckpt.formats.references import Reference
from tune_ckpt.objects.trust import Trust
from tune_ckpt.rllib.restoring.plain_config import plain_config

IMPORTED = {
    "env": "package:Walker-v2",  # Gymnasium imports the package
    "callbacks_class": "package.module.Class",
    "policy_mapping_fn": Reference("package:function"),
}


@pytest.mark.parametrize("key", IMPORTED)
@pytest.mark.parametrize("place", [(), ("evaluation_config",)], ids=["at the top", "nested"])
def test_a_name_that_would_be_imported_is_left_out_and_told(key, place):
    config = {key: IMPORTED[key], "lr": 0.5}
    for step in place:
        config = {step: config}
    found, lost = plain_config(config, Trust())
    for step in place:
        found = found[step]
    assert found == {"lr": 0.5}
    assert [fault.path for fault in lost] == ["/".join((*place, key))]


@pytest.mark.parametrize("env", ["package-1.Env", "a.b-c.Env", "package:a/b", "package:Walker-v2"])
def test_whatever_module_an_environment_is_in_must_be_trusted(env):
    assert plain_config({"env": env}, Trust())[0] == {}


def test_an_environment_of_a_trusted_module_keeps_its_name():
    env = {"env": "package:Walker-v2"}
    assert plain_config(env, Trust(modules=("package",))) == (env, [])


PLAIN = ["CartPole-v1", "ALE/Pong-v5", "ale_py:ALE/Pong-v5", "registered"]


@pytest.mark.parametrize("env", PLAIN)
def test_an_environment_of_gymnasiums_is_plain(env):
    assert plain_config({"env": env}, Trust()) == ({"env": env}, [])


def test_spaces_are_made_and_other_objects_are_left_out_wherever_they_are():
    space = gym.spaces.Dict(a=gym.spaces.Discrete(3), b=gym.spaces.Box(-1, 1, (2,)))
    told = {"env_config": {"space": space, "object": Queue(), "size": 2}}
    found, lost = plain_config(loads_inert(pickle.dumps(told), file="f"), Trust())
    assert found == {"env_config": {"space": space, "size": 2}}
    assert [fault.path for fault in lost] == ["env_config/object"]


class Queue:
    """An object with fields."""

    def __init__(self):
        self.items = [1]


def test_names_within_any_container_are_left_out():
    values = {"list": ["a.b", 1], "tuple": ("a.b", 1), "frozenset": frozenset({"a.b", 1})}
    found, lost = plain_config(values, Trust())
    assert found == {"list": [1], "tuple": (1,), "frozenset": frozenset({1})}
    assert len(lost) == 3
