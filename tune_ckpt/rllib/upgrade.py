"""Checkpoints of any older Ray as ones that Ray 2.60 loads, made on their files alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import Fault, NotACheckpointError
from tune_ckpt.rllib.finding import ALGORITHM, POLICY, Part, find
from tune_ckpt.rllib.first_generation import Whole, read_whole
from tune_ckpt.rllib.folders import Folder, open_empty, write
from tune_ckpt.rllib.given import given
from tune_ckpt.rllib.plain import fields
from tune_ckpt.rllib.upgrading_new import NewStack
from tune_ckpt.rllib.upgrading_old import OldStack


class Upgraded(str):
    """Where an upgraded checkpoint is; it is the path.

    Attributes:
        notes: What could not be carried, by its path.
    """

    notes: tuple[Fault, ...] = ()


def upgrade_checkpoint(
    src: Any, dst: Any, config: Any = None, env: Any = None, *, filesystem: Any = None
) -> Upgraded:
    """Write a checkpoint of an older Ray again, as one that Ray 2.60 loads."""
    part = find(src, filesystem)
    target = open_empty(dst, filesystem, "upgrade into")
    told = given(config, env)
    stack = NewStack(told) if is_of_new_stack(part) else OldStack(told)
    write(target, _upgraded(part, stack, lambda: read_whole(part, src, filesystem)))
    upgraded = Upgraded(target.location)
    upgraded.notes = tuple(map(_advised, stack.notes))
    return upgraded


def _advised(note: Fault) -> Fault:
    advice = _ADVICE.get(note.path)
    return note if advice is None else Fault(note.path, f"{note.reason}; {advice}")


_ADVICE = {
    "config/env": "pass env=",
    "config/policy_mapping_fn": "pass one in config=, or to Algorithm.from_checkpoint",
    "config/callbacks_class": "pass them in config=",
}


def _upgraded(part: Part, stack: NewStack | OldStack, whole: Callable[[], Whole]) -> Folder:
    if part.type == POLICY:
        return stack.policy(part)
    if isinstance(stack, NewStack):
        return stack.algorithm(part) if part.type == ALGORITHM else stack.tree(part)
    if part.type == ALGORITHM:
        return stack.algorithm(whole(), part.state_path)
    raise NotACheckpointError(part.path, f"it is a {part.type}; pass the whole checkpoint")


def is_of_new_stack(part: Part) -> bool:
    """Say whether a part of a checkpoint has RLModules, be it in policies."""
    if part.folder.ctor is not None or part.child("learner") is not None:
        return True
    spec = fields((fields(part.state) or {}).get("policy_spec")) or {}
    config = fields(spec.get("config")) or {}
    return any(config.get(key) is True for key in _OF_MODULES)


_OF_MODULES = ("_enable_learner_api", "_enable_new_api_stack", "enable_rl_module_and_learner")
