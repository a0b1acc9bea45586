"""RLlib's Algorithms with the mixin: their Tune checkpoints are whole trees, msgpack on request."""

import json
from pathlib import Path

import numpy as np
import pytest
from ray import tune
from ray.rllib.algorithms.ppo import PPO

import tune_ckpt as tc

# RLlib and what it uses warn of themselves.
pytestmark = pytest.mark.slow


class PortablePPO(tc.AlgorithmMixin, PPO):
    checkpoint_format = "msgpack"


def _config(runners):
    config = PPO.get_default_config().environment("CartPole-v1")
    config.algo_class = PortablePPO
    return (
        config.env_runners(num_env_runners=runners)
        .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
    )


def _weights(algorithm):
    def of_runner(runner):
        return {name: np.asarray(array) for name, array in runner.module.get_state().items()}

    return algorithm.env_runner_group.foreach_env_runner(of_runner, local_env_runner=True)


def test_every_runner_holds_the_restored_weights_and_training_goes_on(tmp_path, ray_session):
    trained, other = _config(0).build_algo(), _config(1).build_algo()
    try:
        trained.train()
        trained.save_checkpoint(str(tmp_path))
        other.load_checkpoint(str(tmp_path))
        expected = _weights(trained)[0]
        for held in _weights(other):
            np.testing.assert_equal(held, expected)
        assert other.train()["training_iteration"] == 2
    finally:
        trained.stop()
        other.stop()
    assert tc.verify(tmp_path).ok
    assert not list(tmp_path.rglob("*.pkl"))


def test_within_tune_the_checkpoints_are_trees_with_their_metrics(tmp_path, ray_session):
    run_config = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        verbose=0,
        stop={"training_iteration": 1},
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
    )
    results = tune.Tuner(PortablePPO, param_space=_config(0), run_config=run_config).fit()
    assert results[0].error is None
    (path,) = Path(results[0].path).glob("checkpoint_*")
    assert tc.verify(path).ok
    metadata = json.loads((path / "rllib_checkpoint.json").read_text())
    assert metadata["metrics"]["training_iteration"] == 1
    assert tc.describe(path).format == "msgpack"
    assert tc.best_checkpoint(results, "training_iteration").iteration == 1


def test_the_other_mixin_says_which_one_to_take():
    with pytest.raises(TypeError, match="AlgorithmMixin"):

        class Wrong(tc.CheckpointableMixin, PPO):
            pass
