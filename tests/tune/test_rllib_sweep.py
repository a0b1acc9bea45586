"""RLlib's Algorithms under Tune: their checkpoints are converted beside the originals."""

import json
from pathlib import Path

import numpy as np
import pytest
import ray
from packaging.version import Version
from ray import tune

import tune_ckpt as tc
from tune_ckpt import rllib

# RLlib and what it uses warn of themselves.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory, ray_session):
    """Two iterations of PPO, with a checkpoint after each."""
    from ray.rllib.algorithms.ppo import PPOConfig

    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
    )
    metric = "env_runners/episode_return_mean"
    run_config = tune.RunConfig(
        name="ppo",
        storage_path=str(tmp_path_factory.mktemp("ppo")),
        verbose=0,
        stop={"training_iteration": 2},
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
        callbacks=[tc.CheckpointCallback("all", metric=metric, pin_best=True)],
    )
    results = tune.Tuner("PPO", param_space=config, run_config=run_config).fit()
    assert results[0].error is None
    return results


def test_every_checkpoint_is_converted(results):
    report = json.loads((Path(results.experiment_path) / "tune_ckpt_report.json").read_text())
    done = {(o["action"], o["status"]) for o in report["outcomes"]}
    assert done == {("convert", "done"), ("pin", "done")}
    for name in ("checkpoint_000000", "checkpoint_000001"):
        copy = Path(results[0].path) / "msgpack" / name
        assert rllib.get_checkpoint_info(copy)["format"] == "msgpack"


@pytest.mark.skipif(
    Version(ray.__version__) < Version("2.54"),
    reason="Ray 2.48's own RLlib does not take its gym_env_vectorize_mode back from text",
)
def test_a_conversion_restores_in_rllib_and_trains_on(results):
    from ray.rllib.algorithms import Algorithm

    original = Path(results[0].path) / "checkpoint_000001"
    copy = Path(results[0].path) / "msgpack" / "checkpoint_000001"
    algorithm = Algorithm.from_checkpoint(str(copy))
    try:
        weights = algorithm.learner_group._learner.module["default_policy"].get_state()
        expected = rllib.load_weights(original)
        assert weights.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(weights[name], array)
        assert algorithm.train()["training_iteration"] == 3
    finally:
        algorithm.stop()


def test_the_best_is_pinned_and_is_an_algorithm(results):
    record = tc.pinned_checkpoint(results.experiment_path)
    values = [
        row["env_runners/episode_return_mean"] for _, row in results[0].metrics_dataframe.iterrows()
    ]
    assert record.value == max(values)
    info = rllib.get_checkpoint_info(record.path)
    assert (info["type"], info["format"]) == ("Algorithm", "msgpack")


def test_a_conversion_that_is_there_already_is_not_done_again(results):
    from tune_ckpt.tune.beside import convert_all

    assert {o.status for o in convert_all(results[0].path)} == {"up to date"}
