"""Policies and modules out of checkpoints of any age, without unpickling anything."""

import json
import pickle
import shutil

import numpy as np
import pytest

from tests.rllib.cases import COMMITTED, one
from tests.rllib.own_policies import CHOICE, TORQUE, VECTOR, new_module
from tune_ckpt.errors import (
    ClassNotFoundError,
    ComponentNotFoundError,
    InvalidArgumentError,
    NotInCheckpointError,
    RestoreError,
    RestoreWarning,
)
from tune_ckpt.rllib import (
    export_bundle,
    load_bundle,
    load_weights,
    restore_algorithm,
    restore_module,
    restore_policy,
    upgrade_checkpoint,
)
from tune_ckpt.rllib.restoring.rllib_classes import find_algorithm

pytestmark = pytest.mark.slow

OLD = [case for case in COMMITTED if "-old-" in case.name]
NEW = [case for case in COMMITTED if "-new" in case.name or "-hybrid-" in case.name]

NEW_MULTI, OLD_MULTI = one("ray2.60.0-py3.13"), one("ray2.10.0-py3.10-old-ppo-multi")


def _outputs(case, name):
    files = case.outputs
    ends = ("logits", "model_out", "action_dist_inputs", "inference/actions")
    return next(files[key] for key in files if key.startswith(f"{name}/") and key.endswith(ends))


def _names(case):
    return sorted({key.partition("/")[0] for key in case.outputs})


def _close(found, expected):
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", NEW, ids=lambda case: case.name)
def test_a_module_of_any_version_gives_the_outputs_that_its_own_ray_gave(case):
    import torch

    for name in _names(case):
        module = restore_module(case.path, None if name == "__module__" else name)
        with torch.no_grad():
            found = module.forward_inference({"obs": torch.from_numpy(case.observations)})
        _close(found["action_dist_inputs"], _outputs(case, name))
        assert module.restore_report.ok


@pytest.mark.parametrize("case", OLD, ids=lambda case: case.name)
def test_a_policy_of_any_version_gives_the_outputs_that_its_own_ray_gave(case):
    import torch

    for name in _names(case):
        policy = restore_policy(case.path, None if name == "__policy__" else name)
        with torch.no_grad():
            found = policy.model({"obs": torch.from_numpy(case.observations)})[0]
        _close(found, _outputs(case, name))
        assert policy.restore_report.ok


def test_a_policy_has_its_optimizer_and_counters_again():
    policy = restore_policy(OLD_MULTI.path, "pol1")
    (optimizer,) = policy._optimizers
    assert len(optimizer.state_dict()["state"]) == 12
    assert policy.global_timestep == 119
    (lost,) = policy.restore_report.left_out  # of what only workers use, nothing is told
    assert lost.path.startswith("connector_configs/")


def test_weights_that_do_not_fit_are_taken_as_far_as_wished():
    path = one("ray2.43.0").path
    config = {"fcnet_hiddens": [8, 9], "vf_share_layers": True}
    with pytest.raises(RestoreError, match=r"mlp\.2\.weight: shape \(8, 8\) in the checkpoint"):
        restore_module(path, model_config=config)
    with pytest.warns(RestoreWarning):
        module = restore_module(path, model_config=config, strict="warn")
    found = module.state_dict()["encoder.encoder.net.mlp.0.weight"].numpy()
    np.testing.assert_equal(found, load_weights(path)["encoder.encoder.net.mlp.0.weight"])
    assert not module.restore_report.ok


@pytest.mark.parametrize("kind", ["APPO", "IMPALA", "BC", "MARWIL", "DQN", "SAC", "CQL", "IQL"])
def test_modules_of_every_algorithm_are_restored(tmp_path, kind):
    actions = TORQUE if kind in ("SAC", "CQL", "IQL") else CHOICE
    module = new_module(kind, VECTOR, actions, {"fcnet_hiddens": [7, 6]})
    if hasattr(module, "make_target_networks"):
        module.make_target_networks()
    module.save_to_path(str(tmp_path / "m"))
    found = restore_module(tmp_path / "m").get_state()
    np.testing.assert_equal(found, module.get_state())


BODY = {"fcnet_hiddens": [7, 6], "vf_share_layers": False}
OLD_HEAD = {"post_fcnet_hiddens": [5], "post_fcnet_activation": "tanh"}
NEW_HEAD = {"head_fcnet_hiddens": [5], "head_fcnet_activation": "tanh"}


@pytest.mark.parametrize(
    ("ray", "built", "stored"),
    [("2.37.0", NEW_HEAD, OLD_HEAD), ("2.38.0", {}, OLD_HEAD)],
    ids=["before Ray 2.38", "since then it is ignored"],
)
def test_a_models_setting_says_by_its_old_name_what_it_said_then(tmp_path, ray, built, stored):
    import torch

    module = new_module("PPO", VECTOR, CHOICE, {**BODY, **built})
    module.save_to_path(str(tmp_path / "m"))
    _rewrite(tmp_path / "m", ray, model_config={**BODY, **stored})
    np.testing.assert_equal(restore_module(tmp_path / "m").get_state(), module.get_state())
    upgraded = upgrade_checkpoint(tmp_path / "m", tmp_path / "u")
    np.testing.assert_equal(type(module).from_checkpoint(upgraded).get_state(), module.get_state())
    export_bundle(tmp_path / "m", tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    obs = torch.as_tensor(bundle.observations)
    expected = module.forward_inference({"obs": obs})["action_dist_inputs"]
    torch.testing.assert_close(bundle.selftest()["action_dist_inputs"], expected)


def test_the_former_q_networks_of_sac_are_restored(tmp_path):
    from ray.rllib.algorithms.sac.sac_catalog import SACCatalog

    from tune_ckpt.rllib.former import FormerSACCatalog

    model = {"fcnet_hiddens": [7, 6], "fcnet_activation": "relu", "twin_q": True}
    kind = type(new_module("SAC", VECTOR, TORQUE, model))
    told = {"model_config": model, "catalog_class": FormerSACCatalog}
    module = kind(observation_space=VECTOR, action_space=TORQUE, **told)
    module.save_to_path(str(tmp_path / "m"))
    _rewrite(tmp_path / "m", "2.46.0", catalog_class=SACCatalog)
    np.testing.assert_equal(restore_module(tmp_path / "m").get_state(), module.get_state())


def _rewrite(path, ray, **arguments):
    """Have a module's checkpoint say another Ray, and other arguments of its constructor."""
    file = path / "class_and_ctor_args.pkl"
    ctor = pickle.loads(file.read_bytes())
    ctor["ctor_args_and_kwargs"][1].update(arguments)
    file.write_bytes(pickle.dumps(ctor))
    metadata = json.loads((path / "metadata.json").read_text())
    (path / "metadata.json").write_text(json.dumps({**metadata, "ray_version": ray}))


def test_a_world_model_is_restored_and_its_export_refused(tmp_path):
    module = new_module("DreamerV3", VECTOR, CHOICE, {"model_size": "nano"})
    module.save_to_path(str(tmp_path / "m"))
    found = restore_module(tmp_path / "m")
    np.testing.assert_equal(found.get_state(), module.get_state())  # some are numbers
    with pytest.raises(NotInCheckpointError, match=r"DreamerV3.*restore_module"):
        export_bundle(tmp_path / "m", tmp_path / "b")


def test_what_only_training_needs_is_left_out_on_request(tmp_path):
    module = new_module("SAC", VECTOR, TORQUE, {"fcnet_hiddens": [7, 6]})
    module.save_to_path(str(tmp_path / "m"))
    found = restore_module(tmp_path / "m", inference_only=True)
    expected = module.state_dict()["pi.net.mlp.0.weight"].numpy()
    np.testing.assert_equal(found.state_dict()["pi.net.mlp.0.weight"].numpy(), expected)
    (left_out,) = found.restore_report.left_out
    assert "qf_encoder" in str(left_out)


def _renamed(path, tmp_path, file, *names):
    """A copy of a checkpoint in which a class has another name."""
    shutil.copytree(path, tmp_path / "c")
    (found,) = (tmp_path / "c").rglob(file)
    found.write_bytes(found.read_bytes().replace(*map(_with_length, names)))
    return tmp_path / "c"


def _with_length(name):
    """A text as a pickle has it."""
    return b"\x8c" + bytes([len(name)]) + name


def test_a_catalog_that_is_gone_is_the_modules_own(tmp_path):
    path = one("ray2.40.0-py3.10-new-ppo-single_module").path
    catalog, file = b"ray.rllib.algorithms.ppo.ppo_catalog", "class_and_ctor_args.pkl"
    moved = _renamed(path, tmp_path, file, catalog, catalog.replace(b"ppo.ppo", b"ppo.old"))
    np.testing.assert_equal(load_weights(moved), load_weights(path))
    assert restore_module(moved).restore_report.ok


def test_a_policy_of_a_removed_algorithm_is_the_one_with_its_models(tmp_path):
    path = one("ray2.3.1-py3.8-old-ppo-single_policy").path
    moved = _renamed(path, tmp_path, "policy_state.pkl", b"PPOTorchPolicy", b"A2CTorchPolicy")
    policy = restore_policy(moved)
    np.testing.assert_equal(policy.get_weights(), load_weights(path))
    assert any("no A2CTorchPolicy" in str(fault) for fault in policy.restore_report.left_out)


def test_a_removed_algorithm_says_what_can_be_done(tmp_path):
    path = one("ray2.3.1-py3.8-old-ppo-single_policy").path
    moved = _renamed(path, tmp_path, "policy_state.pkl", b"PPOTorchPolicy", b"DDPGTorchPolicy")
    with pytest.raises(NotInCheckpointError, match=r"Ray removed DDPG in 2.11; load_weights"):
        restore_policy(moved)


def test_a_policy_that_is_a_module_inside_is_restored_as_that(tmp_path):
    case = one("ray2.7.1-py3.9-hybrid-ppo-single")
    path = case.path / "policies" / "default_policy"
    with pytest.raises(NotInCheckpointError, match="see restore_module"):
        restore_policy(path)
    module = restore_module(path)
    found = {name: value.numpy() for name, value in module.state_dict().items()}
    stored = load_weights(path)
    np.testing.assert_equal({name: found[name] for name in stored}, stored)


def test_an_algorithm_is_found_without_importing_the_others(monkeypatch):
    import ray.tune.registry
    from ray.rllib.algorithms import registry

    def lacks_a_package():
        raise ModuleNotFoundError("No module named 'PIL'")

    monkeypatch.setitem(registry.ALGORITHMS, "DreamerV3", lacks_a_package)
    monkeypatch.setattr(ray.tune.registry, "_has_trainable", lambda _: False)  # a new process
    assert find_algorithm("PPO").__name__ == "PPO"


def test_nothing_is_unpickled_without_trust(tmp_path, monkeypatch):
    import pickle

    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads"):
        monkeypatch.setattr(pickle, name, refuse)
    restore_module(NEW_MULTI.path, "p0")
    restore_policy(one("ray2.3.1-py3.8-old-ppo-single_policy").path)


def test_a_trusted_pickle_is_what_rllib_itself_reads():
    path = one("ray2.60.0-py3.11-new-ppo-single-meanstd").path
    module = restore_module(path, allow_pickle=True)
    np.testing.assert_equal(
        {name: value.numpy() for name, value in module.state_dict().items()}, load_weights(path)
    )


def test_a_trusted_policy_is_made_as_rllib_makes_it(corpus):
    path = corpus / "ray2.60.0-py3.11-old-ppo-multi_policy" / "checkpoint"
    policy = restore_policy(path, allow_pickle=True)
    assert policy.restore_report.ok
    np.testing.assert_equal(policy.get_weights(), load_weights(path))


def test_what_is_not_there_says_so():
    with pytest.raises(ComponentNotFoundError, match=r"'p7'.*p0, p1"):
        restore_module(NEW_MULTI.path, "p7")
    with pytest.raises(InvalidArgumentError, match="p0"):
        restore_module(NEW_MULTI.path)
    with pytest.raises(NotInCheckpointError, match="migrate_to_rl_module"):
        restore_module(OLD_MULTI.path, "pol1")
    with pytest.raises(NotInCheckpointError, match="see restore_module"):
        restore_policy(NEW_MULTI.path, "p0")
    with pytest.raises(NotInCheckpointError, match="see restore_policy"):
        restore_algorithm(one("ray2.3.1-py3.8-old-ppo-single_policy").path)


def test_a_class_of_the_users_needs_trust(tmp_path):
    from tests.rllib import own_module

    module = own_module.Tiny(**own_module.ARGUMENTS)
    module.save_to_path(str(tmp_path / "m"))
    assert restore_module(tmp_path / "m").weight == module.weight  # imported already
    code = (tmp_path / "m" / "class_and_ctor_args.pkl").read_bytes()
    other = code.replace(b"tests.rllib.own_module", b"tests.rllib.not_module")
    (tmp_path / "m" / "class_and_ctor_args.pkl").write_bytes(other)
    with pytest.raises(ClassNotFoundError, match=r"trusted=\['tests.rllib.not_module'\]"):
        restore_module(tmp_path / "m")
