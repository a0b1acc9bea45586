"""Networks without Ray give what RLlib's own policies and modules give, actions included."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.rllib.cases import CASES
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
from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.rllib.inference.inference import read_inference, sample
from tune_ckpt.rllib.inference.layers import default_filters

FROM_V0_1 = {"model": {"fcnet_activation": "tanh"}}


def _run(network, rows, states=()):
    with torch.no_grad():
        return [output.numpy() for output in network(torch.from_numpy(rows), *states)]


def _zeros(network, rows):
    return [torch.zeros(len(rows), network.state_size)] * (2 if network.state_size else 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_gives_the_outputs_that_its_own_ray_gave(case):
    ends = ("/logits", "/q_values", "/action_dist_inputs")
    config = FROM_V0_1 if case.name.startswith("synthetic") else None
    for name in sorted({key.partition("/")[0] for key in case.outputs}):
        inference = read_inference(case.path, None if name[:2] == "__" else name, None, config)
        network = inference.network()
        network.filter = None  # the expected outputs are those of the model alone
        found, *_ = _run(network, case.observations, _zeros(network, case.observations))
        expected = next(k for k in case.outputs if k.startswith(f"{name}/") and k.endswith(ends))
        np.testing.assert_allclose(found, case.outputs[expected], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if "synthetic" in c.name], ids=lambda c: c.name)
def test_what_version_0_1_does_not_tell_is_asked_for(case):
    with pytest.raises(NotInCheckpointError, match="configuration of its model"):
        read_inference(case.path, None)


def test_images_of_former_sizes_have_the_strides_that_ray_1_had():
    assert [stride for *_, stride in default_filters((240, 320, 3), "f")] == [(7, 9), 4, 1]
    with pytest.raises(NotInCheckpointError, match="strides of convolutions"):
        default_filters((7, 7, 3), "f")


@pytest.mark.parametrize(("low", "high"), [(5, np.inf), (-np.inf, -5), (5, 9), (-1e9, 1e9)])
def test_any_bounds_have_a_sample(low, high):
    found = sample({"low": low, "high": high, "shape": (3,), "dtype": "float32"}, 2)
    assert (found.shape, found.dtype) == ((2, 3), np.float32)
    assert np.abs(found).max() <= 9


# ------------------------------------------ models that the cases do not have, in RLlib

HIDDENS = {"fcnet_hiddens": [7, 6]}
CHOICES = spaces.MultiDiscrete([3, 2])

OLD = {
    "PPO": (VECTOR, CHOICE, HIDDENS),
    "PPO, shared, with layers after": (
        *(VECTOR, CHOICE),
        {**HIDDENS, "vf_share_layers": True, "post_fcnet_hiddens": [5]},
    ),
    "PPO, only layers after": (VECTOR, CHOICE, {"fcnet_hiddens": [], "post_fcnet_hiddens": [5]}),
    "PPO, continuous": (VECTOR, TORQUE, {**HIDDENS, "fcnet_activation": "relu"}),
    "PPO, free log std": (VECTOR, TORQUE, {**HIDDENS, "free_log_std": True}),
    "PPO, several choices": (VECTOR, CHOICES, HIDDENS),
    "PPO, whole numbers": (VECTOR, spaces.Box(-1, 2, (2, 3), np.int32), HIDDENS),
    "PPO, images": (IMAGE, CHOICE, {"conv_filters": FILTERS}),
    "PPO, recurrent": (VECTOR, TORQUE, {**HIDDENS, "use_lstm": True, "lstm_cell_size": 4}),
    "DQN": (VECTOR, CHOICE, HIDDENS),
    "DQN, no layers of its own": (VECTOR, CHOICE, HIDDENS),
    "DQN, not dueling": (VECTOR, CHOICE, HIDDENS),
    "DQN, distributional": (VECTOR, CHOICE, HIDDENS),
    "DQN, distributional, not dueling": (VECTOR, CHOICE, HIDDENS),
    "DQN, images": (IMAGE, CHOICE, {"conv_filters": FILTERS}),
    "SAC": (VECTOR, TORQUE, {}),
    "SAC, discrete": (VECTOR, CHOICE, {}),
    "SAC, settings in part": (VECTOR, TORQUE, {}),
    "CQL": (VECTOR, TORQUE, {}),
    "Impala": (VECTOR, CHOICE, HIDDENS),
    "MARWIL": (VECTOR, CHOICE, HIDDENS),
}
ATOMS = {"num_atoms": 3, "v_min": -2.0, "v_max": 5.0}
MORE = {
    "DQN": {"hiddens": [5]},
    "DQN, no layers of its own": {"hiddens": [], "dueling": False},
    "DQN, not dueling": {"hiddens": [5], "dueling": False},
    "DQN, distributional": {"hiddens": [5], **ATOMS},
    "DQN, distributional, not dueling": {"hiddens": [5], "dueling": False, **ATOMS},
    "Impala": {"vtrace": True},
    "SAC, settings in part": {"policy_model_config": {"fcnet_hiddens": [5]}},
}


def _old_outputs(policy, kind, rows):
    batch = {"obs": torch.from_numpy(rows), "obs_flat": torch.from_numpy(rows)}
    model, states = policy.model.eval(), policy.model.get_initial_state()
    states = [torch.as_tensor(s).unsqueeze(0).repeat(len(rows), 1) for s in states]
    with torch.no_grad():
        found, _ = model(batch, states, torch.ones(len(rows)))
        if kind == "DQN":
            from ray.rllib.algorithms.dqn.dqn_torch_policy import compute_q_values

            return compute_q_values(policy, model, batch, explore=False, is_training=False)[0]
        if kind in ("SAC", "CQL"):
            return model.get_action_model_outputs(found)[0]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", OLD)
def test_a_policy_of_the_old_stack_acts_as_in_rllib(tmp_path, name):
    from ray.rllib.utils.spaces.space_utils import unsquash_action

    kind = name.partition(",")[0]
    observations, actions, model = OLD[name]
    policy = old_policy(kind, observations, actions, model, **MORE.get(name, {}))
    inference = read_inference(exported(policy, tmp_path / "p"), None)
    network, rows = inference.network(), _rows(observations)
    inputs, acted, *_ = _run(network, rows, _zeros(network, rows))
    expected = _old_outputs(policy, kind, rows)
    np.testing.assert_allclose(inputs, expected.numpy(), rtol=1e-4, atol=1e-5)
    if kind != "DQN":
        chosen = policy.dist_class(expected, policy.model).deterministic_sample().numpy()
    else:
        chosen = expected.argmax(1).numpy()
    np.testing.assert_allclose(acted, unsquash_action(chosen, actions), rtol=1e-4, atol=1e-5)


def _rows(space):
    generator = np.random.default_rng(3)
    return generator.uniform(space.low, space.high, (9, *space.shape)).astype(np.float32)


NEW = {
    "PPO": (VECTOR, CHOICE, HIDDENS),
    "PPO, separate": (VECTOR, CHOICE, {**HIDDENS, "vf_share_layers": False}),
    "PPO, normalized": (VECTOR, CHOICE, {**HIDDENS, "fcnet_use_layernorm": True}),
    "PPO, head": (VECTOR, TORQUE, {**HIDDENS, "head_fcnet_hiddens": [5, 4]}),
    "PPO, free log std": (VECTOR, TORQUE, {**HIDDENS, "free_log_std": True}),
    "PPO, clipped log std": (VECTOR, TORQUE, {**HIDDENS, "log_std_clip_param": 0.1}),
    "PPO, several choices": (VECTOR, CHOICES, HIDDENS),
    "PPO, images": (IMAGE, CHOICE, {"conv_filters": FILTERS[:2]}),
    "PPO, recurrent": (VECTOR, CHOICE, {**HIDDENS, "use_lstm": True, "lstm_cell_size": 4}),
    "PPO, recurrent, shared": (
        *(VECTOR, CHOICE),
        {**HIDDENS, "use_lstm": True, "lstm_cell_size": 4, "vf_share_layers": True},
    ),
    "APPO": (VECTOR, CHOICE, HIDDENS),
    "IMPALA": (VECTOR, TORQUE, HIDDENS),
    "BC": (VECTOR, CHOICE, HIDDENS),
    "MARWIL": (VECTOR, TORQUE, HIDDENS),
    "DQN": (VECTOR, CHOICE, {**HIDDENS, "head_fcnet_hiddens": [5]}),
    "DQN, distributional": (VECTOR, CHOICE, {**HIDDENS, **ATOMS}),
    "SAC": (VECTOR, TORQUE, HIDDENS),
    "SAC, discrete": (VECTOR, CHOICE, HIDDENS),
    "CQL": (VECTOR, TORQUE, HIDDENS),
    "IQL": (VECTOR, TORQUE, HIDDENS),
    "TQC": (VECTOR, TORQUE, HIDDENS),
}


def _repeated(states, times):
    if isinstance(states, dict):  # an actor's and a critic's
        return {key: _repeated(state, times) for key, state in states.items()}
    return torch.as_tensor(states).unsqueeze(0).repeat(times, 1, 1)


def _new_outputs(module, kind, rows):
    batch = {"obs": torch.from_numpy(rows)}
    with torch.no_grad():
        if kind == "DQN":
            return module.compute_q_values(batch)["qf_preds"]
        states = module.get_initial_state()
        if states:
            batch = {
                "obs": batch["obs"].unsqueeze(1),
                "state_in": _repeated(states, len(rows)),
            }
        return module.forward_inference(batch)["action_dist_inputs"].reshape(len(rows), -1)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
def test_a_module_of_the_new_stack_acts_as_in_rllib(tmp_path, name):
    from ray.rllib.utils.spaces.space_utils import unsquash_action

    kind = name.partition(",")[0]
    observations, actions, model = NEW[name]
    module = new_module(kind, observations, actions, model)
    module.save_to_path(str(tmp_path / "m"))
    network, rows = read_inference(tmp_path / "m", None).network(), _rows(observations)
    inputs, acted, *_ = _run(network, rows, _zeros(network, rows))
    expected = _new_outputs(module, kind, rows)
    np.testing.assert_allclose(inputs, expected.numpy(), rtol=1e-4, atol=1e-5)
    if kind != "DQN":
        distribution = module.get_inference_action_dist_cls().from_logits(expected)
        chosen = distribution.to_deterministic().sample().numpy()
    else:
        chosen = expected.argmax(1).numpy()
    np.testing.assert_allclose(acted, unsquash_action(chosen, actions), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_filter_does_what_rllibs_does():
    from ray.rllib.connectors.env_to_module.mean_std_filter import _MeanStdFilter

    case = next(case for case in CASES if "meanstd" in case.name)
    inference = read_inference(case.path, None)
    state = _filter_state(case.path)
    theirs = _MeanStdFilter(state["shape"], clip=state["clip_by_value"])
    theirs.running_stats = type(theirs.running_stats).from_state(state["running_stats"][0])
    expected = [theirs(row, update=False) for row in case.observations]
    found = inference.network().filter(torch.from_numpy(case.observations))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def _filter_state(path):
    import pickle

    file = path / "env_runner" / "env_to_module_connector" / "MeanStdFilter" / "state.pkl"
    return pickle.loads(file.read_bytes())[None]


@pytest.mark.slow
def test_a_network_that_is_not_rllibs_own_is_refused(tmp_path):
    from tests.rllib import own_module

    own_module.Tiny(**own_module.ARGUMENTS).save_to_path(str(tmp_path / "m"))
    with pytest.raises(NotInCheckpointError, match=r"Tiny is in none of .*register_family"):
        read_inference(tmp_path / "m", None)


REFUSED = {
    "the custom model 'mine'": ("PPO", {**HIDDENS, "custom_model": "mine"}, {}),
    "attention": ("PPO", {"use_attention": True, "attention_dim": 8, "attention_head_dim": 4}, {}),
    "noisy layers": ("DQN", HIDDENS, {"noisy": True}),
    "dueling values without layers of their own": ("DQN", HIDDENS, {"hiddens": []}),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REFUSED)
def test_a_network_that_no_recipe_tells_is_refused_by_what_it_has(tmp_path, what):
    from ray.rllib.models.catalog import ModelCatalog
    from ray.rllib.models.torch.fcnet import FullyConnectedNetwork

    kind, model, config = REFUSED[what]
    ModelCatalog.register_custom_model("mine", FullyConnectedNetwork)
    path = exported(old_policy(kind, VECTOR, CHOICE, model, **config), tmp_path / "p")
    with pytest.raises(NotInCheckpointError, match=rf"with {what}.*register_family"):
        read_inference(path, None)


@pytest.mark.slow
def test_composite_observations_are_seen_as_rllibs_preprocessor_makes_them(tmp_path):
    from ray.rllib.models.catalog import ModelCatalog

    space = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Tuple((VECTOR, CHOICE))})
    preprocessor = ModelCatalog.get_preprocessor_for_space(space)
    policy = old_policy("PPO", preprocessor.observation_space, CHOICE, HIDDENS)
    inference = read_inference(exported(policy, tmp_path / "p"), None)
    assert inference.absent == ("RLlib's preprocessor of observations",)
    rows = np.stack([preprocessor.transform(space.sample()) for _ in range(4)])
    found, *_ = _run(inference.network(), rows)
    np.testing.assert_allclose(found, _old_outputs(policy, "PPO", rows).numpy(), rtol=1e-5)


@pytest.mark.slow
def test_composite_observations_of_the_new_stack_are_refused(tmp_path):
    from tests.rllib import own_module

    space = spaces.Dict({"a": CHOICE, "b": VECTOR})
    own_module.Tiny(**{**own_module.ARGUMENTS, "observation_space": space}).save_to_path(
        str(tmp_path / "m")
    )
    with pytest.raises(NotInCheckpointError, match="no arrays of one shape"):
        read_inference(tmp_path / "m", None)


@pytest.mark.slow
def test_a_family_of_ones_own_is_registered(tmp_path, monkeypatch):
    from tests.rllib import own_module
    from tune_ckpt.rllib import Recipe, register_family
    from tune_ckpt.rllib.inference import families
    from tune_ckpt.rllib.inference.layers import dense_layers

    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))

    def make(known):
        return Recipe("tiny", (), dense_layers(known.weights, r"layers\.(\d+)", None, None))

    register_family(make, "Tiny")
    module = own_module.Tiny(**own_module.ARGUMENTS)
    module.save_to_path(str(tmp_path / "m"))
    rows = _rows(own_module.ARGUMENTS["observation_space"])
    inputs, _ = _run(read_inference(tmp_path / "m", None).network(), rows)
    np.testing.assert_allclose(inputs, _new_outputs(module, "Tiny", rows).numpy(), rtol=1e-5)
