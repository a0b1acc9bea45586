"""The keys of RLlib's configuration that were renamed or removed, from Ray 1 to 2.60.

One row a key, in tables that make this module longer than others. A key may have been renamed more
than once: the rows lead from each name to the next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from tune_ckpt.rllib.reading.plain import fields

RENAMED: dict[str, str] = {
    # of the dicts that old configurations were
    "callbacks": "callbacks_class",
    "create_env_on_driver": "create_env_on_local_worker",
    "custom_eval_function": "custom_evaluation_function",
    "framework": "framework_str",
    "input": "input_",
    "lambda": "lambda_",
    "num_cpus_for_driver": "num_cpus_for_local_worker",
    "num_workers": "num_rollout_workers",
    # of the first generation
    "sample_batch_size": "rollout_fragment_length",
    "collect_metrics_timeout": "metrics_episode_collection_timeout_s",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "min_iter_time_s": "min_time_s_per_reporting",
    "min_time_s_per_reporting": "min_time_s_per_iteration",
    "min_train_timesteps_per_reporting": "min_train_timesteps_per_iteration",
    "min_sample_timesteps_per_reporting": "min_sample_timesteps_per_iteration",
    "timesteps_per_iteration": "min_sample_timesteps_per_iteration",
    "evaluation_num_episodes": "evaluation_duration",
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "Q_model": "q_model_config",
    "policy_model": "policy_model_config",
    # workers became env runners
    "num_rollout_workers": "num_env_runners",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
    "num_gpus_per_worker": "num_gpus_per_env_runner",
    "custom_resources_per_worker": "custom_resources_per_env_runner",
    "num_cpus_for_local_worker": "num_cpus_for_main_process",
    "evaluation_num_workers": "evaluation_num_env_runners",
    "validate_workers_after_construction": "validate_env_runners_after_construction",
    "ignore_worker_failures": "ignore_env_runner_failures",
    "recreate_failed_workers": "recreate_failed_env_runners",
    "recreate_failed_env_runners": "restart_failed_env_runners",
    "max_num_worker_restarts": "max_num_env_runner_restarts",
    "delay_between_worker_restarts_s": "delay_between_env_runner_restarts_s",
    "num_consecutive_worker_failures_tolerance": ("num_consecutive_env_runner_failures_tolerance"),
    "worker_health_probe_timeout_s": "env_runner_health_probe_timeout_s",
    "worker_restore_timeout_s": "env_runner_restore_timeout_s",
    "max_sample_requests_in_flight_per_worker": ("max_requests_in_flight_per_sampler_worker"),
    "max_requests_in_flight_per_sampler_worker": "max_requests_in_flight_per_env_runner",
    # trainer workers became learners
    "num_trainer_workers": "num_learner_workers",
    "num_gpus_per_trainer_worker": "num_gpus_per_learner_worker",
    "num_cpus_per_trainer_worker": "num_cpus_per_learner_worker",
    "num_learner_workers": "num_learners",
    "num_gpus_per_learner_worker": "num_gpus_per_learner",
    "num_cpus_per_learner_worker": "num_cpus_per_learner",
    "learner_class": "_learner_class",
    # batches
    "train_batch_size_per_learner": "_train_batch_size_per_learner",
    "mini_batch_size_per_learner": "minibatch_size",
    "sgd_minibatch_size": "minibatch_size",
    "num_sgd_iter": "num_epochs",
    "shuffle_sequences": "shuffle_batch_per_epoch",
    "target_update_frequency": "target_network_update_freq",
    # models and API stacks
    "rl_module_spec": "_rl_module_spec",
    "_model_config_dict": "_model_config",
    "is_atari": "_is_atari",
    "_enable_learner_api": "_enable_new_api_stack",
    "_enable_new_api_stack": "enable_rl_module_and_learner",
    "uses_new_env_runners": "enable_env_runner_and_connector_v2",
    "_AlgorithmConfig__prior_exploration_config": "_prior_exploration_config",
    "in_eval": "in_evaluation",
    # what methods call their arguments
    "env_to_module_connector": "_env_to_module_connector",
    "module_to_env_connector": "_module_to_env_connector",
    "learner_connector": "_learner_connector",
}

# What went without a successor, and the values that say nothing: no note is made of them.
REMOVED: dict[str, tuple[Any, ...]] = {
    # the environment
    "horizon": (None,),
    "soft_horizon": (False,),
    "no_done_at_end": (False,),
    "env_task_fn": (None,),
    "record_env": (False,),
    "monitor": (False,),
    "auto_wrap_old_gym_envs": (True, False),
    # sampling
    "sample_async": (False,),
    "enable_connectors": (True, False),
    "synchronize_filters": (True,),
    "worker_cls": (None,),
    "_use_trajectory_view_api": (True, False),
    "truncate_episodes": (True,),
    # evaluation and offline data
    "always_attach_evaluation_results": (True, False),
    "enable_async_evaluation": (False,),
    "custom_async_evaluation_function": (None,),
    "input_evaluation": (None, ["is", "wis"], [], {}),
    "_evaluation_parallel_to_training_wo_thread": (False,),
    # logging and resources
    "logger_creator": (None,),
    "logger_config": (None, {"type": "ray.tune.logger.NoopLogger"}),
    "memory": (0,),
    "object_store_memory": (0,),
    "memory_per_worker": (0,),
    "object_store_memory_per_worker": (0,),
    "_run_training_always_in_thread": (True, False),
    # training
    "simple_optimizer": (True, False),
    "_disable_execution_plan_api": (True, False),
    "vf_share_layers": (True, False),
    "lstm_use_prev_action_reward": (False,),
    "use_state_preprocessor": (False,),
    "worker_side_prioritization": (False,),
    "num_aggregation_workers": (0,),
    "max_requests_in_flight_per_aggregator_worker": (2,),
    "vtrace_drop_last_ts": (True, False),
    "replay_mode": ("independent",),
    "replay_batch_size": (),
    "policy_map_cache": (None,),
    "after_train_step": (),
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

# What policies of the old API stack ask for, and older Ray had no key for: what it did then.
ADDED_TO_POLICIES = {"use_kl_loss": True}

# Of these, -1 is no mark but the value.
MAY_BE_MINUS_ONE = ("v_min", "v_max")

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
        key = RENAMED[key]
    return key


def known_settings(config: Any) -> set[str]:
    """Return what a configuration has, and what there is besides, as far as the tables here tell.

    Args:
        config: A configuration, or its fields, of any version; without any, nothing is known.
    """
    told = fields(config) or {}
    flat = {**(fields(told.get("multiagent")) or {}), **told}
    return {newest(str(key)) for key in (*flat, *RENAMED, *_ADDED)} if flat else set()


_ADDED = ("env", "replay_buffer_config", "policies", "policy_mapping_fn", "policies_to_train")


def like(key: str, known: Iterable[str]) -> str:
    """Return which keys are like another, for a message; nothing where none is."""
    found = difflib.get_close_matches(key, [name for name in known if not name.startswith("_")])
    return f", such as {', '.join(found)}" if found else ""


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


def newest_settings(config: dict[Any, Any]) -> dict[str, Any]:
    """Return the settings that say something, by the keys of today.

    Args:
        config: A configuration's fields, of any version.
    """
    made: dict[str, Any] = {}
    for key, value in told_settings(config):
        if value is not None or newest(str(key)) not in made:
            made[newest(str(key))] = value
    return made


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
        return value is None or is_deprecated(value) or value in REMOVED[key]
    return is_deprecated(value) and key not in MAY_BE_MINUS_ONE
