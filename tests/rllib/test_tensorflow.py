"""Policies of TensorFlow's: read, exported and run, with TensorFlow or without."""

import importlib.util

import numpy as np
import pytest

from tests.rllib.cases import DATA, Case, facts
from tune_ckpt.errors import MissingDependencyError, NotInCheckpointError
from tune_ckpt.rllib import export_bundle, export_model, load_bundle, load_weights
from tune_ckpt.rllib.inference.families import make_recipe
from tune_ckpt.rllib.inference.inference import read_inference
from tune_ckpt.rllib.inference.recipes import Known
from tune_ckpt.rllib.inference.tensorflow_weights import as_torch

CASES = [Case(folder) for folder in sorted((DATA.parent / "rllib_tensorflow").iterdir())]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
needs_tensorflow = pytest.mark.skipif(
    not TENSORFLOW, reason="TensorFlow is not installed: pip install 'tune_ckpt[keras]'"
)
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")


def _one(end):
    return next(case for case in CASES if case.name.endswith(end))


def _expected(case):
    outputs = case.outputs
    return outputs["q_values" if "q_values" in outputs else "action_dist_inputs"]


@every_case
def test_weights_are_what_its_own_ray_says_byte_for_byte(case):
    (expected,) = case.expected["weights"].values()
    found = load_weights(case.path)
    assert facts(found) == expected
    assert [*found] == [*expected]  # in eager mode, the order is all that tells them apart


@needs_torch
@every_case
def test_torch_gives_the_outputs_that_tensorflow_gave(case):
    import torch

    network, rows = read_inference(case.path, None).network(), case.observations
    network.filter = None  # the expected outputs are those of the model alone
    states = [torch.zeros(len(rows), network.state_size)] * (2 if network.state_size else 0)
    with torch.no_grad():
        found, *_ = network(torch.from_numpy(rows), *states)
    np.testing.assert_allclose(found.numpy(), _expected(case), rtol=1e-5, atol=1e-6)


@needs_torch
def test_a_policy_of_tensorflows_becomes_a_bundle(tmp_path):
    case = _one("tf2-dqn")
    export_bundle(case.path, tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    np.testing.assert_equal(bundle.act(case.observations), case.outputs["actions"])
    assert bundle.source["class"] == "DQNTFPolicy_eager"


def _known(case, more, cls):
    network = {"fcnet_hiddens": [8, 8], "fcnet_activation": "tanh"}
    spaces = {"space": "box", "shape": (4,)}, {"space": "discrete", "n": 2}
    return Known("p", cls, load_weights(case.path) | more, network, *spaces, {"hiddens": [6]})


def test_a_network_of_ones_own_is_refused():
    make_recipe(as_torch(_known(_one("tf-dqn"), {}, "DQNTFPolicy")))
    named = _known(_one("tf-dqn"), {"p/mine/kernel": np.ones(3)}, "DQNTFPolicy")
    with pytest.raises(NotInCheckpointError, match=r"networks have not: p/mine/kernel"):
        make_recipe(as_torch(named))
    unnamed = _known(_one("tf2-dqn"), {"14": np.ones(3)}, "DQNTFPolicy_eager")
    with pytest.raises(NotInCheckpointError, match=r"15 weights instead of 14.*register_family"):
        as_torch(unnamed)


@pytest.mark.skipif(TENSORFLOW, reason="TensorFlow is installed")
def test_what_a_saved_model_needs_is_told(tmp_path):
    with pytest.raises(MissingDependencyError, match="pip install tensorflow"):
        export_model(_one("tf-dqn").path, "keras", tmp_path)


@pytest.mark.slow
@needs_tensorflow
@every_case
def test_a_saved_model_gives_the_outputs_that_its_own_ray_gave(tmp_path, case):
    import tensorflow as tf

    made = export_model(case.path, "keras", tmp_path)
    serve = tf.saved_model.load(made.path).signatures["serving_default"]
    rows, filter = case.observations, read_inference(case.path, None).filter
    if filter is not None:  # the expected outputs are those of the model alone
        rows = (rows * filter.std + filter.mean).astype(np.float32)
    for start, stop in ((0, 1), (1, 16)):
        batch = rows[start:stop]
        given = {
            told["name"]: tf.zeros((len(batch), *told["shape"][1:]))
            for told in made.metadata["inputs"][1:]
        }
        found = serve(observations=tf.constant(batch), **given)
        assert {*found} == {*made.metadata["outputs"]}
        expected = _expected(case)[start:stop]
        np.testing.assert_allclose(found["action_dist_inputs"], expected, rtol=1e-4, atol=1e-5)
        if found["actions"].dtype.is_integer:
            np.testing.assert_equal(found["actions"].numpy(), expected.argmax(1))
        elif "sac" not in case.name:  # the torque's bounds are -2 and 2
            np.testing.assert_allclose(found["actions"], 2 * expected[:, :1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@needs_tensorflow
@pytest.mark.parametrize("end", ["tf2-ppo-lstm", "tf2-ppo-free", "tf2-ppo-img"])
@needs_torch
def test_a_saved_model_gives_all_that_torch_gives(tmp_path, end):
    import tensorflow as tf
    import torch

    case = _one(end)
    made = export_model(case.path, "keras", tmp_path)
    serve = tf.saved_model.load(made.path).signatures["serving_default"]
    network, rows = read_inference(case.path, None).network(), case.observations
    states = [np.full((len(rows), network.state_size), 0.3, "f4")] * (
        2 if network.state_size else 0
    )
    names = [told["name"] for told in made.metadata["inputs"]]
    found = serve(**dict(zip(names, map(tf.constant, [rows, *states]), strict=True)))
    expected = network(*map(torch.from_numpy, [rows, *states]))
    for name, output in zip(made.metadata["outputs"], expected, strict=True):
        np.testing.assert_allclose(found[name], output.numpy(), rtol=1e-4, atol=1e-5)
