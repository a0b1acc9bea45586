"""The states of chosen policies or modules, given to an Algorithm that was built for them."""

from __future__ import annotations

from typing import Any, cast

from tune_ckpt.errors import Fault
from tune_ckpt.formats.pickle import holds_opaque
from tune_ckpt.rllib.accounting import Account
from tune_ckpt.rllib.counters import ITERATION, counters_of
from tune_ckpt.rllib.finding import Part
from tune_ckpt.rllib.members import Member, Policy
from tune_ckpt.rllib.plain import fields
from tune_ckpt.rllib.restore_policy import policy_state
from tune_ckpt.rllib.weights import Weights, weights_of

Given = dict[str, Weights]
_CONNECTORS = ("env_to_module_connector", "module_to_env_connector")
_COUNT = "num_env_steps_sampled_lifetime"


def give_to_old_stack(
    algorithm: Any, part: Part, chosen: dict[str, Member], account: Account, *, optimizers: bool
) -> Given:
    """Give policies their states, on all workers, and the Algorithm its counters.

    Args:
        algorithm: The Algorithm.
        part: The checkpoint's.
        chosen: The policies in the checkpoint, by their ids.
        account: Takes what is given.
        optimizers: Whether optimizers have their states, too.

    Returns:
        The weights that were given.
    """
    local = algorithm.env_runner.policy_map
    stored = {name: cast("Policy", member) for name, member in chosen.items()}
    given = {
        name: account.fit(name, local[name].model.state_dict(), weights_of(policy))
        for name, policy in stored.items()
    }
    states = {name: policy_state(local[name], one, account) for name, one in stored.items()}
    account.check()
    for name, state in states.items():
        if not optimizers:
            state.pop("_optimizer_variables", None)
        state["weights"] = given[name]

    def give(worker: Any) -> None:
        for name, state in states.items():
            worker.policy_map[name].set_state(state)

    for group in (algorithm.env_runner_group, algorithm.eval_env_runner_group):
        if group is not None:
            group.foreach_env_runner(give)
    _give_counters(algorithm, part)
    return given


def _give_counters(algorithm: Any, part: Part) -> None:
    counters = counters_of(part)
    stored = fields((fields(part.state) or {}).get("counters")) or {}
    for name in stored.keys() & counters.keys():
        algorithm._counters[name] = counters[name]
    algorithm._iteration = int(counters.get(ITERATION, 0))


def give_to_new_stack(
    algorithm: Any, part: Part, chosen: dict[str, Member], account: Account, *, optimizers: bool
) -> Given:
    """Give modules their weights, on learners and runners, and the Algorithm the rest.

    The arguments are those of `give_to_old_stack`.

    Returns:
        The weights that were given.
    """
    mine = algorithm.learner_group.get_weights()
    given = {n: account.fit(n, mine[n], weights_of(member)) for n, member in chosen.items()}
    learner: dict[str, Any] = {"rl_module": {n: {**mine[n], **given[n]} for n in given}}
    if optimizers:
        learner["optimizer"] = _optimizers(part, chosen, account)
    state = {"learner_group": {"learner": learner}, **_rest(part, account)}
    account.check()
    algorithm.set_state(state)
    return given


def _optimizers(part: Part, chosen: dict[str, Member], account: Account) -> dict[str, Any]:
    learner = _below(part, "learner_group", "learner")
    stored = fields(learner.state).get("optimizer") if learner is not None else None  # type: ignore[union-attr]
    found = {
        name: state
        for name, state in (stored or {}).items()
        if isinstance(state, dict) and state.get("module_id") in chosen
    }
    if not found or holds_opaque(found):
        reason = "their states are not there, or not in a form that this Ray takes"
        account.left_out.append(Fault("learner/optimizer", reason))
        return {}
    account.loaded += [f"optimizer/{name}" for name in found]
    return found


def _rest(part: Part, account: Account) -> dict[str, Any]:
    """Return the states of connectors, counters and, from the same Ray, metrics."""
    from ray import __version__

    state = fields(part.state) or {}
    rest: dict[str, Any] = {"env_runner": _env_runner(part, account)}
    metrics = state.get("metrics_logger")
    if part.metadata.get("ray_version") == __version__ and not holds_opaque(metrics):
        rest["metrics_logger"] = metrics
    elif metrics is not None:
        account.left_out.append(Fault("metrics_logger", "it is of another Ray"))
    counters = counters_of(part)
    return {**rest, ITERATION: counters[ITERATION]} if ITERATION in counters else rest


def _env_runner(part: Part, account: Account) -> dict[str, Any]:
    runner = part.child("env_runner")
    if runner is None:
        return {name: {} for name in _CONNECTORS}
    count = (fields(runner.state) or {}).get(_COUNT)
    made: dict[str, Any] = {} if count is None else {_COUNT: count}
    for name in _CONNECTORS:
        child = runner.child(name)
        found = {} if child is None else _nested(child)
        if holds_opaque(found):
            account.left_out.append(Fault(f"env_runner/{name}", "its state is no plain data"))
            found = {}
        made[name] = found
    return made


def _nested(part: Part) -> dict[Any, Any]:
    """Return a pipeline's state, with those of its connectors by their names."""
    children = part.children("ConnectorV2", "ConnectorPipelineV2")
    return {**(fields(part.state) or {}), **{n: _nested(child) for n, child in children.items()}}


def _below(part: Part, *names: str) -> Part | None:
    found: Part | None = part
    for name in names:
        found = None if found is None else found.child(name)
    return found
