"""Policies of the old API stack become RLModules with the same outputs."""

import numpy as np
import pytest
from gymnasium.spaces import Box

from tests.rllib.cases import COMMITTED, one
from tests.rllib.own_policies import (
    CHOICE,
    FILTERS,
    IMAGE,
    TORQUE,
    VECTOR,
    exported,
    old_policy,
)
from tune_ckpt.errors import InvalidArgumentError, RestoreError
from tune_ckpt.rllib import get_checkpoint_info, load_weights, migrate_to_rl_module

pytestmark = pytest.mark.slow

OLD = [case for case in COMMITTED if "-old-ppo" in case.name]


@pytest.mark.parametrize("case", OLD, ids=lambda case: case.name)
def test_real_policies_keep_the_outputs_that_their_own_ray_gave(tmp_path, case):
    import torch

    name = min(key.partition("/")[0] for key in case.outputs)
    migrated = migrate_to_rl_module(
        case.path,
        policy_id=None if name == "__policy__" else name,
        observations=case.observations,
    )
    assert migrated.equal
    rows = {"obs": torch.from_numpy(case.observations)}
    with torch.no_grad():
        found = migrated.module.forward_inference(rows)["action_dist_inputs"].numpy()
        values = migrated.module.compute_values(rows).numpy()
    np.testing.assert_allclose(found, case.outputs[f"{name}/logits"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(values, case.outputs[f"{name}/vf"], rtol=1e-5, atol=1e-7)


HIDDENS = {"fcnet_hiddens": [7, 6]}
MODELS = {
    "dense, shared": (VECTOR, CHOICE, {**HIDDENS, "vf_share_layers": True}),
    "dense, separate": (VECTOR, CHOICE, {**HIDDENS, "vf_share_layers": False}),
    "dense, relu": (VECTOR, TORQUE, {**HIDDENS, "fcnet_activation": "relu"}),
    "dense, free log std": (VECTOR, TORQUE, {**HIDDENS, "free_log_std": True}),
    "dense, free log std, separate": (
        *(VECTOR, TORQUE),
        {**HIDDENS, "free_log_std": True, "vf_share_layers": False},
    ),
    "dense, with layers after": (VECTOR, CHOICE, {**HIDDENS, "post_fcnet_hiddens": [5]}),
    "dense, large observations": (Box(5.0, 9.0, (5,), np.float32), CHOICE, HIDDENS),
    "convolutional, shared": (IMAGE, CHOICE, {"conv_filters": FILTERS}),
    "convolutional, separate": (
        *(IMAGE, CHOICE),
        {"conv_filters": FILTERS, "vf_share_layers": False},
    ),
    "recurrent": (VECTOR, CHOICE, {**HIDDENS, "use_lstm": True, "lstm_cell_size": 4}),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_built_in_model_is_known(tmp_path, name):
    observations, actions, model = MODELS[name]
    policy = old_policy("PPO", observations, actions, model)
    migrated = migrate_to_rl_module(exported(policy, tmp_path / "p"))
    assert migrated.differences.keys() == {"action_dist_inputs", "vf_preds"}
    assert migrated.equal, migrated.differences
    assert {*migrated.key_map.values()} <= policy.get_weights().keys()


def test_the_module_is_saved_in_the_newest_layout(tmp_path):
    from ray.rllib.core.rl_module.rl_module import RLModule

    migrated = migrate_to_rl_module(OLD[0].path, policy_id="pol1", path=tmp_path / "m")
    info = get_checkpoint_info(migrated.path)
    assert (info["type"], info["checkpoint_version"]) == ("RLModule", "2.1")
    weights = load_weights(OLD[0].path, "pol1")
    loaded = RLModule.from_checkpoint(migrated.path).state_dict()
    for new, old in migrated.key_map.items():
        np.testing.assert_equal(loaded[new].numpy(), weights[old])


@pytest.mark.parametrize("choices", [2, 3])
def test_a_module_of_ones_own_is_filled_by_ones_own_map(tmp_path, choices):
    from gymnasium.spaces import Discrete
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from tests.rllib.own_module import ARGUMENTS, Tiny

    actions = Discrete(choices)
    policy = old_policy("PPO", ARGUMENTS["observation_space"], actions, {"fcnet_hiddens": [3]})
    path = exported(policy, tmp_path / "p")
    names = {
        f"layers.{number}.{part}": f"{old}._model.0.{part}"
        for number, old in enumerate(("_hidden_layers.0", "_logits"))
        for part in ("weight", "bias")
    }
    spec = RLModuleSpec(
        Tiny,
        observation_space=policy.observation_space,
        action_space=actions,
        model_config={"hidden": 3},
    )
    if choices == 2:
        migrated = migrate_to_rl_module(path, spec, key_map=names, strict="ignore")
        assert migrated.module.weight == policy.get_weights()[names["layers.0.weight"]].tolist()
        assert migrated.differences["action_dist_inputs"] > 1e-3  # it has no activation
        assert "_value_branch._model.0.weight" in migrated.report.unexpected
        return
    with pytest.raises(RestoreError, match=r"layers\.1\.weight: shape \(3, 3\) in the checkpoint"):
        migrate_to_rl_module(path, spec, key_map=names)


def test_outputs_that_differ_are_told(tmp_path):
    from ray.rllib.algorithms.ppo import PPOConfig

    policy = old_policy("PPO", VECTOR, CHOICE, {**HIDDENS, "vf_share_layers": True})
    config = PPOConfig().rl_module(
        model_config={**HIDDENS, "vf_share_layers": True, "fcnet_activation": "relu"}
    )
    config.environment(observation_space=VECTOR, action_space=CHOICE)
    migrated = migrate_to_rl_module(exported(policy, tmp_path / "p"), config)
    assert not migrated.equal
    assert min(migrated.differences.values()) > 1e-3


def test_the_oldest_version_is_told_its_model():
    model = {"fcnet_hiddens": [8, 8], "vf_share_layers": False}
    migrated = migrate_to_rl_module(one("synthetic-v0.1").path, config={"model": model})
    assert migrated.equal
    assert repr(migrated) == f"Migrated(differences={migrated.differences}, path=None)"


@pytest.mark.parametrize(
    "config",
    [{"hiddens": [5]}, {"hiddens": [5, 6], "dueling": False}, {"hiddens": [5], "double_q": False}],
    ids=str,
)
def test_dqn_keeps_its_values(tmp_path, config):
    policy = old_policy("DQN", VECTOR, CHOICE, HIDDENS, **config)
    migrated = migrate_to_rl_module(exported(policy, tmp_path / "p"), path=tmp_path / "m")
    assert migrated.differences.keys() == {"q_values"}
    assert migrated.equal, migrated.differences


def test_a_real_dqn_keeps_the_values_that_its_own_ray_gave():
    import torch

    case = one("ray2.40.0-py3.10-old-dqn")
    migrated = migrate_to_rl_module(case.path, observations=case.observations)
    assert migrated.equal
    with torch.no_grad():
        found = migrated.module.compute_q_values({"obs": torch.from_numpy(case.observations)})
    (expected,) = (case.outputs[key] for key in case.outputs if key.endswith("/q_values"))
    np.testing.assert_allclose(found["qf_preds"].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_policy_of_ones_own_needs_a_specification(tmp_path):
    policy = old_policy("PPO", VECTOR, CHOICE, HIDDENS)
    policy.__class__ = type("Mine", (type(policy),), {"__module__": __name__})
    path = exported(policy, tmp_path / "p")
    with pytest.raises(InvalidArgumentError, match=r"module_spec.*no algorithm has a Mine"):
        migrate_to_rl_module(path)


def test_an_unknown_model_needs_a_map(tmp_path):
    policy = old_policy("SAC", VECTOR, TORQUE, {})
    with pytest.raises(InvalidArgumentError, match=r"key_map.*load_weights"):
        migrate_to_rl_module(exported(policy, tmp_path / "p"))
