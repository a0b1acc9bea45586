"""The keys of RLlib's configuration that were renamed or removed, from Ray 1 to 2.60.

One row a key, with the version of Ray in which it went. A key may have been renamed more than once:
the rows lead from each name to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_ckpt.rllib.reading.plain import fields

RENAMED: dict[str, tuple[str, str]] = {
    # of the dicts that old configurations were
    "callbacks": ("callbacks_class", "2.0"),
    "create_env_on_driver": ("create_env_on_local_worker", "2.0"),
    "custom_eval_function": ("custom_evaluation_function", "2.0"),
    "framework": ("framework_str", "2.0"),
    "input": ("input_", "2.0"),
    "lambda": ("lambda_", "2.0"),
    "num_cpus_for_driver": ("num_cpus_for_local_worker", "2.0"),
    "num_workers": ("num_rollout_workers", "2.0"),
    # of the first generation
    "sample_batch_size": ("rollout_fragment_length", "0.8.2"),
    "collect_metrics_timeout": ("metrics_episode_collection_timeout_s", "2.0"),
    "metrics_smoothing_episodes": ("metrics_num_episodes_for_smoothing", "2.0"),
    "min_iter_time_s": ("min_time_s_per_reporting", "1.9"),
    "min_time_s_per_reporting": ("min_time_s_per_iteration", "2.0"),
    "min_train_timesteps_per_reporting": ("min_train_timesteps_per_iteration", "2.0"),
    "min_sample_timesteps_per_reporting": ("min_sample_timesteps_per_iteration", "2.0"),
    "timesteps_per_iteration": ("min_sample_timesteps_per_iteration", "2.0"),
    "evaluation_num_episodes": ("evaluation_duration", "1.8"),
    "learning_starts": ("num_steps_sampled_before_learning_starts", "2.1"),
    # workers became env runners
    "num_rollout_workers": ("num_env_runners", "2.20"),
    "num_envs_per_worker": ("num_envs_per_env_runner", "2.20"),
    "num_cpus_per_worker": ("num_cpus_per_env_runner", "2.20"),
    "num_gpus_per_worker": ("num_gpus_per_env_runner", "2.20"),
    "custom_resources_per_worker": ("custom_resources_per_env_runner", "2.20"),
    "num_cpus_for_local_worker": ("num_cpus_for_main_process", "2.20"),
    "evaluation_num_workers": ("evaluation_num_env_runners", "2.20"),
    "validate_workers_after_construction": ("validate_env_runners_after_construction", "2.20"),
    "ignore_worker_failures": ("ignore_env_runner_failures", "2.20"),
    "recreate_failed_workers": ("recreate_failed_env_runners", "2.20"),
    "recreate_failed_env_runners": ("restart_failed_env_runners", "2.40"),
    "max_num_worker_restarts": ("max_num_env_runner_restarts", "2.20"),
    "delay_between_worker_restarts_s": ("delay_between_env_runner_restarts_s", "2.20"),
    "num_consecutive_worker_failures_tolerance": (
        "num_consecutive_env_runner_failures_tolerance",
        "2.20",
    ),
    "worker_health_probe_timeout_s": ("env_runner_health_probe_timeout_s", "2.20"),
    "worker_restore_timeout_s": ("env_runner_restore_timeout_s", "2.20"),
    "max_sample_requests_in_flight_per_worker": (
        "max_requests_in_flight_per_sampler_worker",
        "2.2",
    ),
    "max_requests_in_flight_per_sampler_worker": ("max_requests_in_flight_per_env_runner", "2.31"),
    # trainer workers became learners
    "num_trainer_workers": ("num_learner_workers", "2.4"),
    "num_gpus_per_trainer_worker": ("num_gpus_per_learner_worker", "2.4"),
    "num_cpus_per_trainer_worker": ("num_cpus_per_learner_worker", "2.4"),
    "num_learner_workers": ("num_learners", "2.20"),
    "num_gpus_per_learner_worker": ("num_gpus_per_learner", "2.20"),
    "num_cpus_per_learner_worker": ("num_cpus_per_learner", "2.20"),
    "learner_class": ("_learner_class", "2.8"),
    # batches
    "train_batch_size_per_learner": ("_train_batch_size_per_learner", "2.31"),
    "mini_batch_size_per_learner": ("minibatch_size", "2.35"),
    "sgd_minibatch_size": ("minibatch_size", "2.35"),
    "num_sgd_iter": ("num_epochs", "2.35"),
    "shuffle_sequences": ("shuffle_batch_per_epoch", "2.35"),
    "target_update_frequency": ("target_network_update_freq", "2.34"),
    # models and API stacks
    "rl_module_spec": ("_rl_module_spec", "2.10"),
    "_model_config_dict": ("_model_config", "2.38"),
    "is_atari": ("_is_atari", "2.10"),
    "_enable_learner_api": ("_enable_new_api_stack", "2.10"),
    "_enable_new_api_stack": ("enable_rl_module_and_learner", "2.11"),
    "uses_new_env_runners": ("enable_env_runner_and_connector_v2", "2.11"),
    "_AlgorithmConfig__prior_exploration_config": ("_prior_exploration_config", "2.31"),
    "in_eval": ("in_evaluation", "1.0"),
}

# What went without a successor, and the values that say nothing: no note is made of them.
REMOVED: dict[str, tuple[str, tuple[Any, ...]]] = {
    # the environment
    "horizon": ("2.4", (None,)),
    "soft_horizon": ("2.4", (False,)),
    "no_done_at_end": ("2.4", (False,)),
    "env_task_fn": ("2.40", (None,)),
    "record_env": ("2.0", (False,)),
    "monitor": ("2.0", (False,)),
    "auto_wrap_old_gym_envs": ("2.8", (True, False)),
    # sampling
    "sample_async": ("2.8", (False,)),
    "enable_connectors": ("2.40", (True, False)),
    "synchronize_filters": ("2.4", (True,)),
    "worker_cls": ("2.10", (None,)),
    "_use_trajectory_view_api": ("2.0", (True, False)),
    "truncate_episodes": ("2.0", (True,)),
    # evaluation and offline data
    "always_attach_evaluation_results": ("2.43", (True, False)),
    "enable_async_evaluation": ("2.8", (False,)),
    "custom_async_evaluation_function": ("2.8", (None,)),
    "input_evaluation": ("2.0", (None, ["is", "wis"], [], {})),
    "_evaluation_parallel_to_training_wo_thread": ("2.40", (False,)),
    # logging and resources
    "logger_creator": ("2.48", (None,)),
    "logger_config": ("2.48", (None, {"type": "ray.tune.logger.NoopLogger"})),
    "memory": ("2.0", (0,)),
    "object_store_memory": ("2.0", (0,)),
    "memory_per_worker": ("2.0", (0,)),
    "object_store_memory_per_worker": ("2.0", (0,)),
    "_run_training_always_in_thread": ("2.40", (True, False)),
    # training
    "simple_optimizer": ("2.60", (True, False)),
    "_disable_execution_plan_api": ("2.0", (True, False)),
    "vf_share_layers": ("1.1", (True, False)),
    "lstm_use_prev_action_reward": ("1.1", (False,)),
    "use_state_preprocessor": ("2.0", (False,)),
    "worker_side_prioritization": ("2.0", (False,)),
    "num_aggregation_workers": ("2.40", (0,)),
    "max_requests_in_flight_per_aggregator_worker": ("2.40", (2,)),
    "vtrace_drop_last_ts": ("2.4", (True, False)),
    "replay_mode": ("2.0", ("independent",)),
    "replay_batch_size": ("2.0", ()),
    "policy_map_cache": ("2.3", (None,)),
    "after_train_step": ("2.4", ()),
}

# What is no setting: Ray makes it, of the others.
DERIVED = {
    *("class", "algo_class", "_is_frozen", "_per_module_overrides", "__marl_module_spec"),
    *("__policy_id", "worker_index", "_rl_trainer_hps", "_learner_hps", "stats_cls_lookup"),
    *("_enable_rl_trainer_api", "rl_trainer_class", "rl_module_class", "_prior_exploration_config"),
    *("_validate_exploration_conf_and_rl_modules", "_enable_rl_module_api", "__trial_info__"),
    *("sample_collector", "catalog_class"),
}

# Keys of DQN's kind that were at the top, and are in `replay_buffer_config` since Ray 2.0.
OF_THE_REPLAY_BUFFER = {
    "buffer_size": "capacity",
    "replay_sequence_length": "replay_sequence_length",
    "prioritized_replay_alpha": "prioritized_replay_alpha",
    "prioritized_replay_beta": "prioritized_replay_beta",
    "prioritized_replay_eps": "prioritized_replay_eps",
}

# What policies of the old API stack ask for since a version of Ray, and what they did before.
ADDED_TO_POLICIES = {"use_kl_loss": (True, "2.6")}

# Keys of the dicts that policies of the old API stack have as their configuration.
AS_A_DICT = {
    "callbacks_class": "callbacks",
    "create_env_on_local_worker": "create_env_on_driver",
    "custom_evaluation_function": "custom_eval_function",
    "framework_str": "framework",
    "input_": "input",
    "lambda_": "lambda",
}


def newest(key: str) -> str:
    """Return what Ray 2.60 calls a key."""
    while key in RENAMED:
        key = RENAMED[key][0]
    return key


def told_settings(config: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Return the settings that say something, by the keys that they have in the checkpoint.

    What was in ``multiagent`` comes with the others, and keys of the replay buffer in its own dict.

    Args:
        config: A configuration's fields, of any version.
    """
    flat = {**(fields(config.get("multiagent")) or {}), **config}
    flat.pop("multiagent", None)
    flat |= _replay_buffer(flat)
    for key, value in flat.items():
        if key not in _NO_SETTINGS and not _says_nothing(key, value):
            yield key, value


def _replay_buffer(told: dict[Any, Any]) -> dict[str, Any]:
    """Return what is said of the replay buffer, if anything, as Ray says it since 2.0."""
    moved = {
        new: told[old]
        for old, new in OF_THE_REPLAY_BUFFER.items()
        if told.get(old) is not None and not is_deprecated(told[old])
    }
    buffer = fields(told.get("replay_buffer_config"))
    if buffer is None and told.get("prioritized_replay") in (True, False):  # Ray 1
        is_prioritized = told["prioritized_replay"]
        kind = "MultiAgentPrioritizedReplayBuffer" if is_prioritized else "MultiAgentReplayBuffer"
        buffer = {"type": kind}
    if buffer is None:
        return {}
    starts = told.get("learning_starts", buffer.get("learning_starts", _DEPRECATED))
    return {"replay_buffer_config": {**buffer, **moved}, "learning_starts": starts}


_DEPRECATED = -1
_NO_SETTINGS = {*DERIVED, *OF_THE_REPLAY_BUFFER, "prioritized_replay"}


def is_deprecated(value: Any) -> bool:
    """Say whether a value is the one that RLlib gives to keys that are not to be used."""
    return type(value) is int and value == _DEPRECATED


def _says_nothing(key: Any, value: Any) -> bool:
    if key in REMOVED:
        return value is None or is_deprecated(value) or value in REMOVED[key][1]
    return is_deprecated(value)
