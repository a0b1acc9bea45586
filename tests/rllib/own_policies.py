"""Small policies of the old API stack, built here, with RLlib's built-in models."""

from importlib import import_module

import gymnasium as gym
import numpy as np

VECTOR = gym.spaces.Box(-1.0, 1.0, (5,), np.float32)
IMAGE = gym.spaces.Box(0.0, 1.0, (12, 12, 2), np.float32)
CHOICE = gym.spaces.Discrete(3)
TORQUE = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
FILTERS = [[4, [3, 3], 2], [6, [3, 3], 2], [8, [3, 3], 1]]


def old_policy(kind, observations, actions, model, **config):
    """Return a policy of RLlib's old API stack, with random weights."""
    from ray.rllib.algorithms.registry import get_policy_class
    from ray.rllib.models.catalog import MODEL_DEFAULTS
    from ray.tune.registry import get_trainable_cls

    defaults = get_trainable_cls(kind.upper()).get_default_config()
    defaults.api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False)
    told = {
        **defaults.to_dict(),
        "framework": "torch",
        "model": {**MODEL_DEFAULTS, **model},
        **config,
    }
    policy = get_policy_class(f"{kind}TorchPolicy")(observations, actions, told)
    generator = np.random.default_rng(7)
    policy.set_weights(
        {
            name: generator.normal(0, 0.5, array.shape).astype(array.dtype)
            for name, array in policy.get_weights().items()
        }
    )
    return policy


def exported(policy, path):
    """Save a policy as RLlib does, and return the path."""
    policy.export_checkpoint(str(path))
    return path


def new_module(kind, observations, actions, model):
    """Return an RLModule of the new API stack, with random weights."""
    import torch

    package = import_module(f"ray.rllib.algorithms.{kind.lower()}")
    config = getattr(package, f"{kind}Config")()
    config.environment(observation_space=observations, action_space=actions)
    config.rl_module(model_config=model)
    spec = config.get_default_rl_module_spec()
    spec.observation_space, spec.action_space = observations, actions
    spec.model_config = config.model_config
    module = spec.build()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return module
