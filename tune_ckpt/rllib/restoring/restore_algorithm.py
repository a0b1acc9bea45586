"""An Algorithm with some or all of a checkpoint's policies or modules, of either API stack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from tune_ckpt.errors import Fault, InvalidArgumentError, NotInCheckpointError, RestoreError
from tune_ckpt.objects.trust import Trust
from tune_ckpt.objects.wishes import Strict
from tune_ckpt.rllib.converting.algorithms import ALGORITHMS
from tune_ckpt.rllib.converting.config_keys import like, newest
from tune_ckpt.rllib.converting.replay_buffers import live_buffer_class, of_old_stack
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import ALGORITHM
from tune_ckpt.rllib.reading.member_kinds import Module
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.choosing import Chosen, choose
from tune_ckpt.rllib.restoring.give_states import give_to_new_stack, give_to_old_stack
from tune_ckpt.rllib.restoring.gym_spaces import make_spaces
from tune_ckpt.rllib.restoring.opening import open_told
from tune_ckpt.rllib.restoring.private import has_module_spec
from tune_ckpt.rllib.restoring.rebuilt_config import rebuilt_config, unpickled_config
from tune_ckpt.rllib.restoring.restore_module import module_spec
from tune_ckpt.rllib.restoring.rllib_classes import check_installed, constructing
from tune_ckpt.rllib.restoring.same_weights import differing_workers

Train = Collection[str] | Callable[..., bool]
_ADVICE = "Pass the settings that are to be others as config={...}, or a whole AlgorithmConfig."


def restore_algorithm(
    checkpoint: Any,
    policy_ids: str | Collection[str] | None = None,
    policy_mapping_fn: Callable[..., str] | None = None,
    policies_to_train: Train | None = None,
    *,
    config: Any = None,
    env: Any = None,
    optimizers: bool = True,
    filesystem: Any = None,
    allow_pickle: bool = False,
    trusted: str | Collection[str] = (),
    strict: Strict = True,
) -> Any:
    """Return an Algorithm with some or all of the policies (or RLModules) of a checkpoint.

    The Algorithm is built with these policies only, on the API stack that the checkpoint is of, and
    nothing of the others is read. Nothing is unpickled: the configuration is rebuilt from plain
    data as far as today's RLlib knows it. In the end all workers and learners are asked whether
    they hold the weights of the checkpoint.

    >>> restore_algorithm(
    ...     "checkpoint",
    ...     policy_ids={"pol0", "pol1"},
    ...     policy_mapping_fn=lambda agent, *rest, **more: f"pol{agent % 2}",
    ...     policies_to_train={"pol0"},
    ... )  # doctest: +SKIP

    Args:
        checkpoint: An Algorithm's checkpoint: a local path, a URI, or a Ray Checkpoint.
        policy_ids: The policies or modules wanted, or the id of one; None for all.
        policy_mapping_fn: From agents to these policies. Not needed for a single one that acts, nor
            where ``config`` has one, or the checkpoint one that is trusted.
        policies_to_train: Those to be trained, or a function that says so; by default as before.
        config: Settings instead of stored ones: a dict, by old names or new ones; or an
            AlgorithmConfig instead of all, which is not changed. Version 0.1 stores none: see
            `restore_policy`.
        env: An environment (name or class) instead of the checkpoint's; needed where that was code.
        optimizers: Restore the optimizers' states. On the new API stack they are in one file with
            those of all other modules, which is read for it.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the path is to be looked up.
        allow_pickle: Let the checkpoint's configuration import and call what it names. Only for
            checkpoints whose writer you trust.
        trusted: Modules and packages whose classes and functions the checkpoint may name, besides
            RLlib's own Algorithms and RLModules.
        strict: True: states that do not fit are an error. ``"warn"`` and ``"ignore"``: what fits is
            restored.

    Returns:
        The Algorithm; its attribute ``restore_report`` tells what was loaded and what was left out.

    Raises:
        NotInCheckpointError: It is no Algorithm's, has no policies, or does not tell its
            environment.
        ComponentNotFoundError: It has no such policy.
        InvalidArgumentError: There are several policies, and no function from agents to them; or
            ``config`` is none, or has what is no setting.
        ConstructorError: Ray does not build such an Algorithm.
        RestoreError: States do not fit, or a worker does not hold the weights.
        CorruptDataError, CorruptCheckpointError: It is damaged.
        MissingDependencyError: RLlib or torch is not installed.
    """
    check_installed()
    part, assumed = _opened(checkpoint, filesystem)
    trust, account = Trust.of(allow_pickle, trusted), Account(part.path, strict)
    chosen = choose(part, policy_ids)
    account.left_out += () if config else assumed
    config = _configuration(part, config, chosen.is_new_stack, trust, account)
    _set_specs(config, chosen, trust)
    _set_environment(config, env, part, account)
    _set_policies(config, chosen, policy_mapping_fn, policies_to_train)
    algorithm = _built(config, part)
    try:
        give = give_to_new_stack if chosen.is_new_stack else give_to_old_stack
        given = give(algorithm, part, chosen.members, account, optimizers=optimizers)
        account.mismatched += differing_workers(algorithm, given)
        if account.mismatched and strict is True:
            raise RestoreError(account.report())
    except BaseException:
        algorithm.stop()
        raise
    return account.close(algorithm)


def _opened(checkpoint: Any, filesystem: Any) -> tuple[Part, tuple[Fault, ...]]:
    """Open an Algorithm's checkpoint, and refuse any other; see `open_told`."""
    part, assumed = open_told(checkpoint, filesystem)
    if part.type != ALGORITHM:
        reason = f"its type is {part.type}; see restore_policy and restore_module"
        raise NotInCheckpointError(part.path, "Algorithm", reason)
    return part, assumed


def _configuration(
    part: Part, given: Any, is_new_stack: bool, trust: Trust, account: Account
) -> Any:
    """Return a configuration to be changed: the caller's, or the checkpoint's with its settings."""
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    if isinstance(given, AlgorithmConfig):
        return given.copy(copy_frozen=False)
    if not (given is None or isinstance(given, Mapping)):
        raise InvalidArgumentError("config", given, ("a dict", "an AlgorithmConfig"))
    if trust.allow_pickle:
        return _changed(unpickled_config(part), given)
    return _changed(rebuilt_config(part, is_new_stack, trust, account), given)


def _changed(config: Any, settings: Mapping[str, Any] | None) -> Any:
    """Return a configuration with settings of the caller's, by old names or new ones."""
    for key, value in (settings or {}).items():
        if not hasattr(config, newest(key)):
            expected = f"a setting of {type(config).__name__}{like(str(key), vars(config))}"
            raise InvalidArgumentError("config", key, (expected,))
        value = {**config.model, **value} if key == "model" else value
        setattr(config, newest(key), value)
    return config


def _built(config: Any, part: Part) -> Any:
    """Return the Algorithm that Ray builds, with replay buffers of the old stack as it can."""
    cls = getattr(config.algo_class, "__name__", "Algorithm")
    buffer, known = config.get("replay_buffer_config"), ALGORITHMS.get(cls)
    if not config.enable_rl_module_and_learner and isinstance(buffer, dict):
        if known is not None and known.buffer:
            buffer = of_old_stack(buffer, known.buffer)
        config.replay_buffer_config = {**buffer, **_buildable(buffer)}
    with constructing(cls, part.path, _ADVICE):
        return config.build_algo()


def _buildable(buffer: dict[str, Any]) -> dict[str, Any]:
    base = buffer.get("type")
    if not isinstance(base, str | type) or buffer.get("no_local_replay_buffer"):
        return {}
    return {"type": live_buffer_class(base)}


def _set_specs(config: Any, chosen: Chosen, trust: Trust) -> None:
    """Have the Algorithm build these policies only, each as it was."""
    from ray.rllib.policy.policy import PolicySpec

    make_spec: Any = PolicySpec  # RLlib does not type it
    stored = config.policies if isinstance(config.policies, dict) else {}
    specs = {
        name: make_spec(None, *make_spaces(one), getattr(stored.get(name), "config", None))
        for name, one in chosen.acting.items()
    }
    config.multi_agent(policies=specs)
    modules = {name: one for name, one in chosen.members.items() if isinstance(one, Module)}
    if modules and not has_module_spec(config):
        from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec

        idle = chosen.on_learners
        told = {n: module_spec(one, trust, learner_only=n in idle) for n, one in modules.items()}
        config.rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs=told))


def _set_environment(config: Any, env: Any, part: Part, account: Account) -> None:
    if env is not None:
        config.environment(env)
    if config.env is None:
        lost = [fault.reason for fault in account.left_out if fault.path == "config/env"]
        why = f"{lost[0]}, as code that is not trusted" if lost else "nothing names one"
        trusted = ", or its module in trusted= if that can be imported" if lost else ""
        raise NotInCheckpointError(part.path, "environment", f"{why}; pass env={trusted}")


def _set_policies(
    config: Any, chosen: Chosen, mapping: Callable[..., str] | None, train: Train | None
) -> None:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    names = [*chosen.acting]
    if mapping is None and len(names) == 1:
        mapping = partial(_always, names[0])
    if mapping is None and config.policy_mapping_fn is AlgorithmConfig.DEFAULT_POLICY_MAPPING_FN:
        needed = f"a function from agents to {', '.join(names)}"
        raise InvalidArgumentError("policy_mapping_fn", None, (needed,))
    if mapping is not None:
        config.multi_agent(policy_mapping_fn=mapping)
    if train is None and isinstance(config.policies_to_train, Collection):
        train = [name for name in names if name in config.policies_to_train]
    if train is not None:
        config.multi_agent(policies_to_train=train)


def _always(name: str, *_: Any, **__: Any) -> str:
    return name
