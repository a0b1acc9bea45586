"""States of the components in a tree of the new API stack, in the forms that Ray 2.60 reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_ckpt.rllib.converting.metrics import with_metrics
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import ALGORITHM
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.state_files import read_file


def _algorithm_state(state: dict[Any, Any], part: Part) -> dict[Any, Any]:
    return {**state, **with_metrics(state)}


def _learner_state(state: dict[Any, Any], part: Part) -> dict[Any, Any]:
    told = {**state, **with_metrics(state)}
    if isinstance(state.get("optimizer"), dict):
        told["optimizer"] = with_module_ids(state["optimizer"], list(members(part)))
    return told


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
}


def with_module_ids(optimizers: dict[Any, Any], module_ids: list[str]) -> dict[str, Any]:
    """Return optimizers' states with the ids of their modules, which Ray 2.41 added."""
    ids = sorted(module_ids, key=len, reverse=True)
    return {
        name: state
        if "module_id" in state
        else {"module_id": next(i for i in ids if name.startswith(f"{i}_")), "state": state}
        for name, state in optimizers.items()
    }


def states_in(folder: Part) -> dict[str, Any]:
    """Return what the files in a folder hold, by their names without suffixes."""
    return {
        entry.name.rpartition(".")[0]: read_file(folder.folder.store, entry.name)
        for entry in folder.folder.files
    }
