"""States of the components in a tree of the new API stack, in the forms that Ray 2.60 reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tune_ckpt.rllib.converting.metrics import with_metrics
from tune_ckpt.rllib.converting.weight_names import counts_copies, newest_names, without_copies
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import ALGORITHM, MODULE
from tune_ckpt.rllib.reading.member_kinds import Member, Module
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.state_files import read_file


def _algorithm_state(state: dict[Any, Any], part: Part) -> dict[Any, Any]:
    return {**state, **with_metrics(state)}


def _learner_state(state: dict[Any, Any], part: Part) -> dict[Any, Any]:
    told = {**state, **with_metrics(state)}
    if isinstance(state.get("optimizer"), dict):
        told["optimizer"] = restated_optimizers(state["optimizer"], members(part))
    return told


def _module_state(state: dict[Any, Any], part: Part) -> dict[Any, Any]:
    found: dict[Any, Any] = newest_names(state, Module(part).cls)
    return found


def _runner_state(state: dict[Any, Any], part: Part) -> dict[Any, Any]:
    # The configuration has the function; newer Ray takes it from there.
    return {key: item for key, item in state.items() if key != "agent_to_module_mapping_fn"}


def as_it_is(state: dict[Any, Any], part: Part) -> dict[Any, Any]:
    """Return the state of any other component, whose form did not change."""
    return state


# By the type of the component.
RESTATED: dict[str, Callable[[dict[Any, Any], Part], dict[Any, Any]]] = {
    ALGORITHM: _algorithm_state,
    "Learner": _learner_state,
    "EnvRunner": _runner_state,
    MODULE: _module_state,
}


def restated_optimizers(
    optimizers: dict[Any, Any], modules: Mapping[str, Member], wanted: Collection[str] | None = None
) -> dict[str, Any]:
    """Return optimizers' states with the ids of their modules, which Ray 2.41 added.

    Args:
        optimizers: The states by the optimizers' names.
        modules: The modules by their ids.
        wanted: Those whose optimizers are wanted; None for all. Of others nothing is read.
    """
    ids = sorted(modules, key=len, reverse=True)
    made = {}
    for name, state in optimizers.items():
        name = f"{name}{_DEFAULT}" if name in modules else name  # Ray 2.5 has modules' names
        of_name = next((i for i in ids if name.startswith(f"{i}_")), OF_ALL_MODULES)
        module_id = state.get("module_id", of_name)
        if wanted is not None and module_id not in wanted:
            continue
        if "module_id" not in state:
            state = {"module_id": module_id, "state": _of_module(state, modules.get(module_id))}
        made[name] = state
    return made


_DEFAULT = "_default_optimizer"  # what RLlib adds to a module's id
OF_ALL_MODULES = "__all_modules__"  # RLlib's id for an optimizer of several modules


def _of_module(optimizer: Any, module: Member | None) -> Any:
    if module is None or not counts_copies(module.cls):
        return optimizer
    return without_copies(optimizer, [*newest_names(module.weights, module.cls)])


def states_in(folder: Part) -> dict[str, Any]:
    """Return what the files in a folder hold, by their names without suffixes."""
    return {
        entry.name.rpartition(".")[0]: read_file(folder.folder.store, entry.name)
        for entry in folder.folder.files
    }
