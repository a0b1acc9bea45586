"""The learners of Ray 2.5 to 2.30, whose folders are no tree: the tree that they became."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tune_ckpt.errors import Fault
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.component_folders import component_folder, module_folder
from tune_ckpt.rllib.converting.component_states import restated_optimizers, states_in
from tune_ckpt.rllib.converting.folders import Folder, below
from tune_ckpt.rllib.converting.metrics import carried, counted
from tune_ckpt.rllib.converting.modules import module_arguments, module_class, upgraded_weights
from tune_ckpt.rllib.converting.moves import reference
from tune_ckpt.rllib.converting.restating import Restating
from tune_ckpt.rllib.reading.counters import ITERATION, counters_of
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import MODULE, STATE_OF_TYPE
from tune_ckpt.rllib.reading.member_kinds import Module
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.plain import fields

_LEARNER = Reference("ray.rllib.core.learner.learner:Learner")
_LEARNER_GROUP = Reference("ray.rllib.core.learner.learner_group:LearnerGroup")
_MODULES = Reference("ray.rllib.core.rl_module.multi_rl_module:MultiRLModule")


def algorithm_state(part: Part) -> dict[Any, Any]:
    """Return an Algorithm's own state: its counters."""
    state = fields(part.state) or {}
    told = {ITERATION: counters_of(part).get(ITERATION, 0)}  # which up to Ray 2.6 only Tune wrote
    counters = fields(state.get("counters")) or {}
    if "metrics_logger" in state:
        return {**told, "metrics_logger": carried(state["metrics_logger"])}
    if counters:
        return {**told, "counters": dict(counters), "metrics_logger": counted(counters)}
    return told


def learner_group(learner: Part, notes: list[Fault]) -> Folder:
    """Return the folder of an Algorithm's learner group, with its learner.

    Args:
        learner: The learner's folder.
        notes: Takes what could not be carried.
    """
    group = component_folder(_LEARNER_GROUP, {})
    group.children["learner"] = _learner(learner, notes)
    return group


def learner_of(algorithm: Part) -> Part | None:
    """Return the part that an Algorithm's learner is; None where it has none.

    In 1.2 it is in the place of its group, up to Ray 2.30; or both are, where only one was before.
    """
    for way in _WAYS:
        found: Part | None = algorithm
        for name in way:
            found = None if found is None else found.child(name)
        if found is not None:
            return found
    return None


_WAYS = (("learner_group", "learner"), ("learner", "learner"), ("learner",))


def stored_optimizers(learner: Part, wanted: Collection[str] | None = None) -> dict[str, Any]:
    """Return the states of a learner's optimizers by their names, of any version, as today's.

    Args:
        learner: The learner's folder.
        wanted: The modules whose optimizers are wanted; None for all.
    """
    folder = learner.child("optimizer_state")
    told = (fields(learner.state) or {}).get("optimizer") if folder is None else states_in(folder)
    states = fields(told) or {}
    tell_modules = all("module_id" in state for state in states.values())
    return restated_optimizers(states, {} if tell_modules else members(learner), wanted)


def _learner(part: Part, notes: list[Fault]) -> Folder:
    found = members(part)
    state = {"optimizer": stored_optimizers(part), "weights_seq_no": 0}
    modules = component_folder(_MODULES, {}, stem=STATE_OF_TYPE[MODULE])
    for name, module in found.items():
        assert isinstance(module, Module)
        modules.children[name] = _module(module, f"{name}/", notes)
    folder = component_folder(reference(part.metadata.get("learner_class")) or _LEARNER, state)
    folder.children["rl_module"] = modules
    return folder


def _module(module: Module, path: str, notes: list[Fault]) -> Folder:
    restating = Restating(module.path)
    kwargs = module_arguments(module, restating)
    cls = module_class(module)
    assert cls is not None
    notes += below(path, restating.notes)
    return module_folder(cls, kwargs, upgraded_weights(module))
