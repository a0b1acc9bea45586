"""Exported models give what the original gives, for batches of any size."""

import json
import logging

import numpy as np
import pytest

from tests.rllib.cases import one
from tests.rllib.own_policies import (
    CHOICE,
    FILTERS,
    IMAGE,
    TORQUE,
    VECTOR,
    exported,
    new_module,
    old_policy,
)
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.rllib import export_model, load_weights
from tune_ckpt.rllib.inference.inference import read_inference

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # there is no other way
]

HIDDENS = {"fcnet_hiddens": [7, 6]}
MEANSTD = one("ray2.60.0-py3.11-new-ppo-single-meanstd")


def _old(kind, observations, actions, model, **config):
    return lambda path: exported(old_policy(kind, observations, actions, model, **config), path)


def _new(kind, observations, actions, model):
    return lambda path: new_module(kind, observations, actions, model).save_to_path(str(path))


# At least one of each family, of both API stacks; real ones by RLlib itself, and a filter.
MODELS = {
    "PPO with a filter": lambda path: MEANSTD.path,
    "PPO of Ray 2.10": lambda path: (
        one("ray2.10.0-py3.10-old-ppo-multi").path / "policies" / "pol1"
    ),
    "DQN of Ray 2.40": lambda path: one("ray2.40.0-py3.10-old-dqn-single_policy").path,
    "old PPO, images": _old("PPO", IMAGE, CHOICE, {"conv_filters": FILTERS}),
    "old PPO, recurrent": _old(
        "PPO", VECTOR, TORQUE, {**HIDDENS, "use_lstm": True, "lstm_cell_size": 4}
    ),
    "old SAC": _old("SAC", VECTOR, TORQUE, {}),
    "new DQN": _new("DQN", VECTOR, CHOICE, HIDDENS),
    "old DQN, distributional": _old(
        "DQN", VECTOR, CHOICE, HIDDENS, hiddens=[5], num_atoms=3, v_min=-2.0, v_max=5.0
    ),
    "new SAC": _new("SAC", VECTOR, TORQUE, HIDDENS),
    "new PPO, free log std": _new("PPO", VECTOR, TORQUE, {**HIDDENS, "free_log_std": True}),
}


def _torchscript(path):
    import torch

    model = torch.jit.load(path)
    return lambda inputs: [out.numpy() for out in model(*map(torch.from_numpy, inputs))]


def _torch_export(path):
    import torch

    model = torch.export.load(path).module()
    return lambda inputs: [out.detach().numpy() for out in model(*map(torch.from_numpy, inputs))]


def _onnx(path):
    import onnx
    import onnxruntime

    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(path)
    names = [given.name for given in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))


RUNTIMES = {"torchscript": _torchscript, "torch_export": _torch_export, "onnx": _onnx}


def _inputs(network, space, rows):
    generator = np.random.default_rng(5)
    low, high = np.maximum(space["low"], -1), np.minimum(space["high"], 1)
    batch = generator.uniform(low, high, (rows, *space["shape"])).astype("f4")
    states = [generator.normal(size=(rows, network.state_size)).astype("f4") for _ in range(2)]
    return [batch, *(states if network.state_size else [])]


def _original(network, inputs):
    import torch

    with torch.no_grad():
        return [out.numpy() for out in network(*map(torch.from_numpy, inputs))]


# torch writes ONNX of what torch.export gives, and slowly: those made of the same operations as
# another one go as far as that.
AS_ANOTHER = ("PPO of Ray 2.10", "DQN of Ray 2.40", "old SAC", "new DQN")


@pytest.mark.parametrize(
    ("name", "format"),
    [(n, f) for n in MODELS for f in RUNTIMES if f != "onnx" or n not in AS_ANOTHER],
)
def test_what_is_exported_gives_the_same_for_any_batch(tmp_path, name, format):
    path = MODELS[name](tmp_path / "m") or tmp_path / "m"
    inference = read_inference(path, None)
    network = inference.network()
    run = RUNTIMES[format](export_model(path, format, tmp_path / "out").path)
    for rows in (1, 2, 5):
        inputs = _inputs(network, inference.observation_space, rows)
        for found, expected in zip(run(inputs), _original(network, inputs), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("format", RUNTIMES)
def test_a_real_policy_keeps_the_outputs_that_its_own_ray_gave(tmp_path, format):
    case = one("ray2.40.0-py3.10-new-ppo-single_module")
    run = RUNTIMES[format](export_model(case.path, format, tmp_path).path)
    inputs, actions = run([case.observations])
    expected = case.outputs["__module__/inference/action_dist_inputs"]
    np.testing.assert_allclose(inputs, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_equal(actions, expected.argmax(1))


def test_safetensors_have_the_weights_and_how_they_belong_together(tmp_path):
    from safetensors.numpy import load_file

    found = export_model(MEANSTD.path, "safetensors", tmp_path)
    arrays, weights = load_file(found.path), load_weights(MEANSTD.path)
    for name in arrays.keys() - {"filter.mean", "filter.std"}:
        np.testing.assert_equal(arrays[name], weights[name])
    named = {
        layer["weights"] for part in ("trunk", "head") for layer in found.metadata["recipe"][part]
    }
    assert {f"{name}.weight" for name in named} <= arrays.keys()
    assert arrays["filter.mean"].shape == (4,)


def test_the_metadata_tell_what_is_in_the_model_and_what_is_not(tmp_path):
    found = export_model(MEANSTD.path, "safetensors", tmp_path)
    told = json.loads((tmp_path / "metadata.json").read_text())
    assert told["inputs"] == [{"name": "observations", "shape": ["batch", 4], "dtype": "float32"}]
    assert told["outputs"] == ["action_dist_inputs", "actions"]
    assert (told["filter"], told["action_transform"]) == ("included", "normalized")
    assert told["absent"] == []
    assert told["source"]["ray_version"] == "2.60.0"
    assert told["file"] == "model.safetensors"
    assert found.path == str(tmp_path / "model.safetensors")


def test_an_lstms_states_are_inputs_and_outputs(tmp_path):
    path = MODELS["old PPO, recurrent"](tmp_path / "m")
    told = export_model(path, "safetensors", tmp_path / "out").metadata
    assert [given["name"] for given in told["inputs"][1:]] == ["state_in_h", "state_in_c"]
    assert {tuple(given["shape"]) for given in told["inputs"][1:]} == {("batch", 4)}
    assert told["outputs"][2:] == ["state_out_h", "state_out_c"]


def test_target_networks_and_critics_are_not_exported(tmp_path):
    from safetensors.numpy import load_file

    for name in ("new DQN", "new SAC", "old SAC"):
        path = MODELS[name](tmp_path / name) or tmp_path / name
        found = load_file(export_model(path, "safetensors", tmp_path / f"{name} out").path)
        assert not [key for key in found if "target" in key or "q_net" in key or "qf" in key]


@pytest.mark.parametrize("format", ["caffe", None, []])
def test_an_unknown_format_is_refused(tmp_path, format):
    with pytest.raises(InvalidArgumentError, match=r"torchscript.*onnx.*keras"):
        export_model(MEANSTD.path, format, tmp_path)


def test_what_torch_has_to_say_of_torchvision_is_kept_from_the_user(tmp_path, monkeypatch):
    noisy = logging.getLogger("torch.onnx._internal.exporter._registration")
    heard = []

    def export(*_, **__):
        heard.append(noisy.isEnabledFor(logging.WARNING))
        raise InterruptedError

    monkeypatch.setattr("torch.onnx.export", export)
    with pytest.raises(InterruptedError):
        export_model(MEANSTD.path, "onnx", tmp_path)
    assert heard == [False]
    assert noisy.isEnabledFor(logging.WARNING)


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "mine").write_text("mine")
    exported = export_model(MEANSTD.path, "safetensors", tmp_path)
    assert repr(exported) == f"Exported(path={str(tmp_path / 'model.safetensors')!r})"
    assert {file.name for file in tmp_path.iterdir()} == {
        *("mine", "metadata.json", "model.safetensors")
    }
