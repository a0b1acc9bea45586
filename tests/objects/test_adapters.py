"""Objects that are components without being Checkpointable: registered, or with a state dict."""

import collections

import pytest
import torch

import tune_ckpt as tc
from tune_ckpt.errors import UnsupportedComponentError

FORMATS = pytest.mark.parametrize("format", ["msgpack", "pickle"])


class Box:
    def __init__(self, content):
        self.content = content


class BigBox(Box):
    pass


@pytest.fixture
def _registered(monkeypatch):
    from tune_ckpt.objects.adapters import registry

    monkeypatch.setattr(registry, "_BY_TYPE", {})
    tc.register_adapter(
        Box, lambda box: {"content": box.content}, lambda box, state: vars(box).update(state)
    )


@pytest.mark.usefixtures("_registered")
def test_a_registered_type_and_its_subclasses_are_components(tmp_path):
    tc.save({"a": Box(1), "b": BigBox((2, 3))}, tmp_path / "c")
    a, b = Box(0), BigBox(0)
    tc.restore({"a": a, "b": b}, tmp_path / "c")
    assert (a.content, b.content) == (1, (2, 3))


@pytest.mark.usefixtures("_registered")
def test_the_most_specific_type_counts(tmp_path):
    tc.register_adapter(BigBox, lambda box: {"big": box.content}, lambda box, state: None)
    tc.save({"b": BigBox(5)}, tmp_path / "c")
    assert tc.load_state(tmp_path / "c", "b") == {"big": 5}


@pytest.mark.usefixtures("_registered")
def test_what_is_registered_comes_before_what_is_known(tmp_path):
    tc.register_adapter(torch.nn.Linear, lambda net: {"only": net.bias}, lambda net, state: None)
    tc.save({"net": torch.nn.Linear(1, 1)}, tmp_path / "c")
    assert tc.load_state(tmp_path / "c", "net").keys() == {"only"}


class Owner(tc.Checkpointable):
    def __init__(self, part):
        self.part = part

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {}

    def set_state(self, state):
        pass

    def get_checkpointable_components(self):
        return [("part", self.part)]


def test_a_type_that_is_not_known_says_how_to_register_it(tmp_path):
    told = r"collections:Counter \(here 'part'\).*get_state.*register_adapter"
    with pytest.raises(UnsupportedComponentError, match=told):
        Owner(collections.Counter()).save_to_path(tmp_path / "c")


class Stateful:
    """Anything with state_dict and load_state_dict."""

    def __init__(self, at=0):
        self.at = at

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


@FORMATS
def test_anything_with_a_state_dict(tmp_path, format):
    target = Stateful()
    tc.save({"position": Stateful(7)}, tmp_path / "c", format=format)
    tc.restore({"position": target}, tmp_path / "c")
    assert target.at == 7
