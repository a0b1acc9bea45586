"""The states of chosen policies or modules, given to an Algorithm that was built for them."""

from __future__ import annotations

from typing import Any, cast

from tune_ckpt.errors import Fault
from tune_ckpt.formats.pickle import holds_opaque
from tune_ckpt.objects.adapters.rllib_algorithms import send_weights
from tune_ckpt.rllib.converting.component_states import OF_ALL_MODULES
from tune_ckpt.rllib.converting.filters import lost_filters
from tune_ckpt.rllib.converting.learner_groups import learner_of, stored_optimizers
from tune_ckpt.rllib.converting.metrics import with_metrics
from tune_ckpt.rllib.converting.modules import newest_weights
from tune_ckpt.rllib.converting.portable import Carrying, filter_fields, with_newest_statistics
from tune_ckpt.rllib.converting.upgrade import expecting_rllibs_own
from tune_ckpt.rllib.reading.counters import ITERATION, counters_of
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.member_kinds import Member, Module, Policy, without_numbers
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.plain import fields
from tune_ckpt.rllib.reading.state_files import read_nested
from tune_ckpt.rllib.reading.weights import Weights, weights_of
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.private import set_counters
from tune_ckpt.rllib.restoring.restore_policy import policy_state, take_state

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
    states = {
        name: policy_state(local[name], one, account, f"policies/{name}/")
        for name, one in stored.items()
    }
    filters = _filters(algorithm, part, chosen, account)
    account.check()
    for name, state in states.items():
        if not optimizers:
            state.pop("_optimizer_variables", None)
        state["weights"] = given[name]
        take_state(local[name], state, name, stored[name])

    def give(worker: Any) -> None:
        """Give a worker the policies' states and the filters."""
        for name, state in states.items():
            worker.policy_map[name].set_state(state)
        for name, found in filters.items():
            worker.filters[name].sync(found)

    for group in (algorithm.env_runner_group, algorithm.eval_env_runner_group):
        if group is not None:
            group.foreach_env_runner(give)
    _give_counters(algorithm, part)
    return given


def _filters(
    algorithm: Any, part: Part, chosen: dict[str, Member], account: Account
) -> dict[str, Any]:
    """Return the workers' own filters of observations, as before Ray had connectors."""
    worker = read_nested((fields(part.state) or {}).get("worker"), part.state_path)
    stored = fields((fields(worker) or {}).get("filters")) or {}
    told = {name: filter_fields(stored[name]) for name in chosen if name in stored}
    made = {}
    for name, state in told.items():
        mine = algorithm.env_runner.filters[name].copy()
        if state and hasattr(mine, "running_stats"):
            for kind in ("running_stats", "buffer"):
                _fill(getattr(mine, kind), state[kind], part)
            made[name] = mine
            account.loaded.append(f"filters/{name}")
        elif state:
            account.unexpected.append(f"filters/{name}")
    return made


def _fill(mine: Any, stored: Any, part: Part) -> None:
    if isinstance(mine, dict | list | tuple):  # one for each part of a composite space
        items = mine.items() if isinstance(mine, dict) else enumerate(mine)
        for key, item in items:
            _fill(item, stored[key], part)
    else:
        vars(mine).update(Carrying(part.state_path).state(fields(stored) or {}))


def _give_counters(algorithm: Any, part: Part) -> None:
    counters = counters_of(part)
    stored = fields((fields(part.state) or {}).get("counters")) or {}
    own = {name: counters[name] for name in stored.keys() & counters.keys()}
    set_counters(algorithm, int(counters.get(ITERATION, 0)), own)


def give_to_new_stack(
    algorithm: Any, part: Part, chosen: dict[str, Member], account: Account, *, optimizers: bool
) -> Given:
    """Give modules their weights, on learners and runners, and the Algorithm the rest.

    The arguments are those of `give_to_old_stack`.

    Returns:
        The weights that were given.
    """
    held = algorithm.learner_group.get_weights()
    mine = {name: without_numbers(held[name]) for name in chosen}
    stored = {name: cast("Module", member) for name, member in chosen.items()}
    given = {n: account.fit(n, mine[n], newest_weights(module)) for n, module in stored.items()}
    learner: dict[str, Any] = {"rl_module": {n: {**mine[n], **given[n]} for n in given}}
    if optimizers:
        learner["optimizer"] = _optimizers(part, chosen, account)
    state = {"learner_group": {"learner": learner}, **_rest(algorithm, part, account)}
    metrics = _metrics(part, account)
    account.check()
    algorithm.set_state(metrics)  # first: it tells the runners from them how far they are
    if algorithm.env_runner_group is None:  # offline, of which RLlib's own does not think
        algorithm.learner_group.set_state(state.pop("learner_group"))
    algorithm.set_state(state)
    send_weights(algorithm)
    return given


def _optimizers(part: Part, chosen: dict[str, Member], account: Account) -> dict[str, Any]:
    learner = learner_of(part)
    wanted = chosen.keys() | {OF_ALL_MODULES}
    with expecting_rllibs_own(part.path if learner is None else learner.state_path):
        found = {} if learner is None else stored_optimizers(learner, wanted)
    shared = {name for name, state in found.items() if state["module_id"] == OF_ALL_MODULES}
    if shared and not members(part).keys() <= chosen.keys():
        found = {name: state for name, state in found.items() if name not in shared}
    if not found or holds_opaque(found):
        reason = "their states are not there, or not in a form that this Ray takes"
        account.left_out.append(Fault("learner/optimizer", reason))
        return {}
    account.loaded += [f"optimizer/{name}" for name in found]
    return found


def _rest(algorithm: Any, part: Part, account: Account) -> dict[str, Any]:
    """Return the states of connectors and counters."""
    rest: dict[str, Any] = {}
    if algorithm.env_runner_group is not None:
        rest["env_runner"] = _env_runner(algorithm, part, account)
    elif part.child("env_runner") is not None:
        reason = "this Ray has none for an Algorithm that learns offline"
        account.left_out.append(Fault("env_runner", reason))
    counters = counters_of(part)
    return {**rest, ITERATION: counters[ITERATION]} if ITERATION in counters else rest


def _metrics(part: Part, account: Account) -> dict[str, Any]:
    """Return the state of the metrics, in the form that this Ray takes."""
    metrics = with_metrics(fields(part.state) or {})
    if not holds_opaque(metrics):
        return metrics
    account.left_out.append(Fault("metrics_logger", "it is no plain data"))
    return {}


def _env_runner(algorithm: Any, part: Part, account: Account) -> dict[str, Any]:
    runner, known = part.child("env_runner"), _connectors(algorithm)
    if runner is None:
        has_one = "MeanStdFilter" in known["env_to_module_connector"]
        account.left_out += () if has_one else lost_filters(part)
        return {name: {} for name in _CONNECTORS}
    count = (fields(runner.state) or {}).get(_COUNT)
    made: dict[str, Any] = {} if count is None else {_COUNT: count}
    for name in _CONNECTORS:
        child = runner.child(name)
        found = {} if child is None else _nested(child)
        strange = sorted(found.keys() - known[name])
        account.unexpected += (f"env_runner/{name}/{one}" for one in strange)
        if holds_opaque(found):
            account.left_out.append(Fault(f"env_runner/{name}", "its state is no plain data"))
            found = {}
        made[name] = found
    return made


def _connectors(algorithm: Any) -> dict[str, set[str]]:
    """Return the names of the connectors that an Algorithm has."""
    runner = algorithm.env_runner  # where there is none, the Algorithm has pipelines itself
    own = vars(algorithm) if runner is None else dict(runner.get_checkpointable_components())
    pipelines = {name: own.get(name) for name in _CONNECTORS}
    return {
        name: {part for part, _ in pipeline.get_checkpointable_components()} if pipeline else set()
        for name, pipeline in pipelines.items()
    }


def _nested(part: Part) -> dict[Any, Any]:
    """Return a pipeline's state, with those of its connectors by their names."""
    children = part.children("ConnectorV2", "ConnectorPipelineV2")
    own = with_newest_statistics(fields(part.state) or {})
    return {**own, **{name: _nested(child) for name, child in children.items()}}
