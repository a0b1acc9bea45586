"""Named objects and plain values, saved and restored without a class."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tune_ckpt as tc
from tests.agents import Agent, Weights, same_agents, trained
from tests.tree.rllib_trees import write_component
from tune_ckpt.errors import (
    ClassNotFoundError,
    InvalidNameError,
    RestoreError,
    UnsupportedComponentError,
    UnsupportedStateError,
)

FORMATS = pytest.mark.parametrize("format", ["msgpack", "pickle"])


@FORMATS
def test_objects_are_restored_and_values_returned(tmp_path, format):
    parts = {"agent": trained(), "net": torch.nn.Linear(2, 3), "step": 3, "shape": (1, 2)}
    tc.save(parts, tmp_path / "c", format=format)
    agent, net = Agent(500), torch.nn.Linear(2, 3)
    assert tc.restore({"agent": agent, "net": net}, tmp_path / "c") == {"step": 3, "shape": (1, 2)}
    assert same_agents(agent, trained())
    assert torch.equal(net.weight, parts["net"].weight)


def test_what_a_save_returned_is_a_path(tmp_path):
    saved = tc.save({"step": 3}, tmp_path / "c")
    assert tc.restore({}, saved) == tc.load_state(saved) == {"step": 3}


@FORMATS
def test_dicts_of_objects_are_components_too(tmp_path, format):
    policies = {"p0": trained().model, "p1": trained(step=2).model, "note": "two"}
    tc.save({"policies": policies, "step": 3}, tmp_path / "c", format=format)
    assert (tmp_path / "c" / "policies" / "p1" / "head" / "metadata.json").exists()
    target = Agent(500).model
    values = tc.restore({"policies": {"p1": target}}, tmp_path / "c", components=["policies/p1"])
    assert values == {}
    assert target.head.w.tolist() == [2, -2]
    everything = {"policies": {"p0": target, "p1": Agent(500).model}}
    assert tc.restore(everything, tmp_path / "c") == {"policies": {"note": "two"}, "step": 3}
    assert target.head.w.tolist() == [7, -7]


def test_a_dict_of_objects_that_contains_itself_is_refused(tmp_path):
    parts = {"net": Weights(2)}
    parts["again"] = {"inner": parts}
    with pytest.raises(UnsupportedComponentError, match="contains itself"):
        tc.save(parts, tmp_path / "c")


def test_a_value_that_is_asked_for_and_missing_is_an_error(tmp_path):
    tc.save({"step": 3}, tmp_path / "c")
    with pytest.raises(RestoreError, match="epoch: missing"):
        tc.restore({"step": 0, "epoch": 0}, tmp_path / "c")


def test_a_component_on_one_side_that_is_a_value_on_the_other_is_told_once(tmp_path):
    tc.save({"net": Weights(2), "step": 3}, tmp_path / "c")
    with pytest.raises(RestoreError) as caught:
        tc.restore({"net": 1, "step": Weights(2)}, tmp_path / "c")
    assert {(fault.path, fault.reason) for fault in caught.value.faults} == {
        ("net", "a component in the checkpoint, a plain value in the object"),
        ("step", "a plain value in the checkpoint (see load_state), a component in the object"),
    }


def test_a_module_of_torchs_is_not_made_and_how_one_is_filled_is_told(tmp_path):
    tc.save({"net": torch.nn.Linear(2, 3)}, tmp_path / "c")
    told = rf"restore\({{'net': object}}, '{tmp_path / 'c'}', components='net'\)"
    with pytest.raises(ClassNotFoundError, match=told):
        tc.restore_object(tmp_path / "c" / "net")


def test_a_plain_value_where_an_object_is_wanted_is_told_as_such(tmp_path):
    tc.save_state({"net": torch.nn.Linear(2, 3).state_dict()}, tmp_path / "c")
    with pytest.raises(
        RestoreError, match=r"net: a plain value in the checkpoint \(see load_state\)"
    ):
        tc.restore({"net": torch.nn.Linear(2, 3)}, tmp_path / "c")


def test_nothing_is_touched_where_one_object_does_not_fit(tmp_path):
    tc.save({"a": trained().model.head, "b": torch.nn.Linear(2, 3)}, tmp_path / "c")
    a = Weights(2)
    with pytest.raises(RestoreError, match="b/weight: shape"):
        tc.restore({"a": a, "b": torch.nn.Linear(3, 3)}, tmp_path / "c")
    assert not a.w.any()


def test_the_report_comes_with_the_values(tmp_path):
    tc.save({"a": Weights(2), "step": 1}, tmp_path / "c")
    values = tc.restore({"a": Weights(2), "b": Weights(2)}, tmp_path / "c", strict="ignore")
    assert (values.report.loaded, values.report.missing) == ((".", "a"), ("b",))


class Drawing(Weights):
    """Draws random numbers whenever it takes a state."""

    def set_state(self, state):
        super().set_state(state)
        random.random(), np.random.rand(), torch.rand(1)


@FORMATS
@pytest.mark.parametrize("order", [1, -1], ids=["rng first", "rng last"])
def test_random_state_is_restored_last(tmp_path, format, order):
    parts = {"rng": tc.RngState(), "drawing": Drawing(2), "inner": {"drawing": Drawing(1)}}
    tc.save(dict(list(parts.items())[::order]), tmp_path / "c", format=format)
    expected = random.random(), np.random.rand(), torch.rand(2).tolist()
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    tc.restore(dict(list(parts.items())[::order]), tmp_path / "c")
    assert (random.random(), np.random.rand(), torch.rand(2).tolist()) == expected


def test_a_training_function_goes_on_from_what_rllib_wrote(tmp_path, monkeypatch):
    write_component(tmp_path / "c", {"step": 3})
    write_component(tmp_path / "c" / "w", {"w": np.ones(2)})
    session = SimpleNamespace(checkpoint=lambda: tmp_path / "c", of_others=lambda *_: [])
    monkeypatch.setattr("tune_ckpt.reporting.current_session", lambda _: session)
    target = Weights(2)
    assert tc.restore({"w": target}) == {"step": 3}
    assert target.w.tolist() == [1, 1]


def test_an_object_of_no_known_type_says_how_to_register_it(tmp_path):
    with pytest.raises(UnsupportedStateError, match=r"tune_ckpt\.register_adapter"):
        tc.save({"x": {"y": object()}}, tmp_path / "c")


def test_a_value_that_holds_itself_is_refused_with_its_path(tmp_path):
    loop = {"x": 1}
    loop["self"] = loop
    with pytest.raises(UnsupportedStateError, match="loop/self"):
        tc.save({"loop": loop}, tmp_path / "c")


def test_classes_are_values_whatever_their_objects_are(tmp_path):
    tc.save({"net": torch.nn.Linear, "agent": Agent}, tmp_path / "c")
    found = tc.restore({}, tmp_path / "c")
    assert found["agent"] == tc.Reference("tests.agents:Agent")


def test_objects_under_numbers_have_no_folder_to_be_in(tmp_path):
    with pytest.raises(InvalidNameError, match="0"):
        tc.save({"nets": {0: torch.nn.Linear(1, 1)}}, tmp_path / "c")
    assert not (tmp_path / "c").exists()
