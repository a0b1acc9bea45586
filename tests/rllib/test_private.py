"""What we use of RLlib that it does not promise: each line here names what to look at again."""

import inspect

import pytest

pytestmark = pytest.mark.slow


def test_attributes_are_set_where_we_know_them():
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
    from ray.rllib.evaluation.rollout_worker import RolloutWorker
    from ray.rllib.policy.torch_policy_v2 import TorchPolicyV2
    from ray.tune import Trainable

    known = {
        Trainable: "self._iteration = 0",
        Algorithm: "self._counters = defaultdict(int)",
        TorchPolicyV2: "self._optimizers = force_list(",
        AlgorithmConfig: "self._rl_module_spec = None",
        RolloutWorker: "self.filters: ",
    }
    assert [owner for owner, line in known.items() if line not in inspect.getsource(owner)] == []


def test_old_policies_of_every_kind_have_a_list_of_optimizers():
    from ray.rllib.algorithms.registry import get_policy_class
    from ray.rllib.policy.torch_policy import TorchPolicy
    from ray.rllib.policy.torch_policy_v2 import TorchPolicyV2

    kinds = [get_policy_class(f"{name}TorchPolicy") for name in ("PPO", "DQN", "SAC", "Impala")]
    assert all(issubclass(kind, TorchPolicyV2 | TorchPolicy) for kind in kinds)
    assert "self._optimizers = force_list(" in inspect.getsource(TorchPolicy)


def test_runners_and_algorithms_tell_their_connectors():
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    for runner in (SingleAgentEnvRunner, MultiAgentEnvRunner):
        source = inspect.getsource(runner.get_checkpointable_components)
        assert "COMPONENT_ENV_TO_MODULE_CONNECTOR" in source
        assert "COMPONENT_MODULE_TO_ENV_CONNECTOR" in source
    built = inspect.getsource(Algorithm)
    assert "self.env_to_module_connector = " in built
    assert "self.module_to_env_connector = " in built


def test_modules_of_several_are_told_by_their_keys():
    from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
    from ray.rllib.core.rl_module.rl_module import RLModule

    assert hasattr(MultiRLModule, "keys")
    assert hasattr(MultiRLModule, "__getitem__")
    assert not hasattr(RLModule, "keys")
