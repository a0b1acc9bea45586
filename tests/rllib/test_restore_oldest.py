"""Checkpoints of the oldest version, which say little of themselves."""

import json
import shutil

import numpy as np
import pytest

from tests.rllib.cases import of_ray_1_with_a_filter, one
from tune_ckpt.errors import InvalidArgumentError, NotInCheckpointError, RestoreError
from tune_ckpt.rllib import load_weights, restore_algorithm, restore_policy

pytestmark = pytest.mark.slow


OLDEST = one("synthetic-v0.1")
OLDEST_MODEL = {"fcnet_hiddens": [8, 8], "vf_share_layers": False}


def test_the_oldest_versions_model_is_told_by_its_weights():
    policy = restore_policy(OLDEST.path)
    np.testing.assert_equal(policy.get_weights(), load_weights(OLDEST.path))
    (assumed,) = policy.restore_report.left_out
    assert "params.pkl" in str(assumed)
    assert str(policy.restore_report).endswith(f". Left out:\n  - {assumed}")
    assert restore_policy(OLDEST.path, config={"model": OLDEST_MODEL}).restore_report.ok
    with pytest.raises(RestoreError, match=r"_value_branch_separate.*unexpected"):
        restore_policy(OLDEST.path, config={"model": {**OLDEST_MODEL, "vf_share_layers": True}})


def test_the_oldest_versions_configuration_is_what_tune_wrote_beside_it(tmp_path, ray_session):
    shutil.copytree(OLDEST.path, tmp_path / "trial" / "checkpoint_10")
    model = {**OLDEST_MODEL, "fcnet_activation": "relu"}
    told = {"model": model, "framework": "torch", "env": "CartPole-v1", "lr": 0.003}
    (tmp_path / "trial" / "params.json").write_text(json.dumps({**told, "num_workers": 0}))
    policy = restore_policy(tmp_path / "trial" / "checkpoint_10")
    assert policy.config["model"]["fcnet_activation"] == "relu"
    algorithm = restore_algorithm(tmp_path / "trial" / "checkpoint_10")
    assert (algorithm.iteration, algorithm.config.lr) == (10, 0.003)
    np.testing.assert_equal(algorithm.get_policy().get_weights(), load_weights(OLDEST.path))
    algorithm.stop()


def test_settings_of_ones_own_take_the_place_of_stored_ones(ray_session):
    told = {"lr": 0.25, "num_workers": 0, "model": {"fcnet_activation": "relu"}}
    algorithm = restore_algorithm(OLDEST.path, env="CartPole-v1", config=told)
    assert algorithm.config.lr == 0.25
    assert algorithm.config.model["fcnet_activation"] == "relu"
    np.testing.assert_equal(algorithm.get_policy().get_weights(), load_weights(OLDEST.path))
    algorithm.stop()
    with pytest.raises(InvalidArgumentError, match=r"config='lrr'.*PPOConfig, such as lr"):
        restore_algorithm(OLDEST.path, env="CartPole-v1", config={"lrr": 1})


def test_the_filter_of_ray_1_goes_on(tmp_path, ray_session):
    path = of_ray_1_with_a_filter(tmp_path / "c")
    config = {"observation_filter": "MeanStdFilter"}
    algorithm = restore_algorithm(path, env="CartPole-v1", config=config)
    assert "filters/default_policy" in algorithm.restore_report.loaded
    found = algorithm.env_runner.filters["default_policy"].running_stats
    assert (found.n, found.mean.tolist(), found.var.tolist()) == (3, [0, 1, 2, 3], [4] * 4)
    algorithm.stop()


def test_an_algorithm_of_the_oldest_version_needs_its_environment_only(ray_session):
    with pytest.raises(NotInCheckpointError, match="pass env="):
        restore_algorithm(OLDEST.path)
    algorithm = restore_algorithm(OLDEST.path, env="CartPole-v1")
    assert algorithm.iteration == 10
    np.testing.assert_equal(algorithm.get_policy().get_weights(), load_weights(OLDEST.path))
    assert "params.pkl" in str(algorithm.restore_report.left_out[0])
    algorithm.stop()
