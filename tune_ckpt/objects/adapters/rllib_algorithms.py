"""What an Algorithm of RLlib's has to do beyond taking its state."""

from __future__ import annotations

from typing import Any


def is_algorithm(value: Any) -> bool:
    """Say whether an object is an Algorithm of RLlib's new API stack, without importing RLlib."""
    config = getattr(value, "config", None)
    has_groups = hasattr(value, "env_runner_group") and hasattr(value, "learner_group")
    return has_groups and bool(getattr(config, "enable_env_runner_and_connector_v2", False))


def send_weights(algorithm: Any) -> None:
    """Give the learners' weights to every runner of an Algorithm, and wait.

    RLlib sends them without waiting, and drops what a busy runner does not take.
    """
    wanted = {"components": "learner/rl_module", "inference_only": True}
    state = {"rl_module": algorithm.learner_group.get_state(**wanted)["learner"]["rl_module"]}

    def give(runner: Any) -> None:
        """Give a runner the weights, if it has a module."""
        if runner.module is not None:
            runner.set_state(state)

    for group in (algorithm.env_runner_group, algorithm.eval_env_runner_group):
        if group is not None:
            group.foreach_env_runner(give)
