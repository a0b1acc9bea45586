"""The policies and RLModules in a part of a checkpoint, wherever its generation keeps them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tune_ckpt.errors import (
    ComponentNotFoundError,
    CorruptDataError,
    InvalidArgumentError,
    NotInCheckpointError,
)
from tune_ckpt.rllib.reading.finding import Part, find
from tune_ckpt.rllib.reading.generations import ALGORITHM, MODULE, MODULES, POLICIES, POLICY
from tune_ckpt.rllib.reading.member_kinds import Member, Module, Policy
from tune_ckpt.rllib.reading.plain import fields
from tune_ckpt.rllib.reading.state_files import read_nested
from tune_ckpt.tree.inspection.told_members import check_members

_DEFAULT = "default_policy"  # RLlib's name for the only one

# The folders that lead to policies or modules, the nearest to acting first.
_WAYS = ("policies", "learner_group", "learner", "rl_module", "module_state", "env_runner")


def members(part: Part) -> dict[str, Member]:
    """Return the policies or modules in a part of a checkpoint, by their ids.

    Raises:
        CorruptDataError: Its metadata list a policy that is missing.
    """
    if part.type == POLICY:
        return {part.name: Policy(part.state_path, lambda: part.state, part=part)}
    if part.type == MODULE:
        return {part.name: Module(part)}
    if part.type in (POLICIES, MODULES):
        below = part.children(POLICY, MODULE)
        return {name: member for child in below.values() for name, member in members(child).items()}
    children = (child for way in _WAYS if (child := part.child(way)) is not None)
    found = next((found for child in children if (found := members(child))), {})
    _check_listed(part, found)
    return _in_one_file(part) if part.type == ALGORITHM and not found else found


def _check_listed(part: Part, found: dict[str, Member]) -> None:
    lost = [name for name in part.folder.policy_ids if name not in found]
    if lost:
        others = f"; so are {', '.join(lost[1:])}" if lost[1:] else ""
        reason = f"it is missing, though {part.metadata_file} lists this policy{others}"
        raise CorruptDataError(part.folder.store.path(f"policies/{lost[0]}"), reason)


def member(part: Part, name: str) -> Member:
    """Return one policy or module by its id; nothing of the others is opened.

    Raises:
        ComponentNotFoundError: There is none of that id.
        NotInCheckpointError: There are none at all.
    """
    found = _member(part, name) or members(part).get(name)
    if found is None:
        raise ComponentNotFoundError(part.path, name, tuple(all_members(part, "policies")))
    return found


def _member(part: Part, name: str) -> Member | None:
    if part.type in (POLICIES, MODULES):
        child = part.child(name)
        return None if child is None else members(child).get(name)
    below = (child for way in _WAYS if (child := part.child(way)) is not None)
    return next((found for child in below if (found := _member(child, name))), None)


def all_members(part: Part, wanted: str) -> dict[str, Member]:
    """Return the policies or modules in a part of a checkpoint, of which there must be some.

    Args:
        part: The checkpoint, or a part of it.
        wanted: What is wanted of them, for the message.

    Raises:
        NotInCheckpointError: There are none at all.
    """
    found = members(part)
    if not found:
        advice = "use another" if part.type == ALGORITHM else "pass the whole"
        reason = f"this {part.type} has neither policies nor modules; {advice} checkpoint"
        raise NotInCheckpointError(part.path, wanted, reason)
    return found


def check_told(part: Part) -> None:
    """Check that policies and modules are there of which an Algorithm's or learner's state tells.

    Raises:
        CorruptDataError: One is missing.
    """
    check_members(part.folder, part.state)
    for way in ("learner_group", "learner"):
        if (child := part.child(way)) is not None:
            check_told(child)


def only(part: Part, name: str | None, argument: str) -> tuple[str, Member]:
    """Return the policy or module of an id, or the only one where no id is given, after its id.

    Args:
        part: The checkpoint, or a part of it.
        name: The id.
        argument: What the caller's argument for it is called.

    Raises:
        ComponentNotFoundError: There is none of that id.
        InvalidArgumentError: No id is given, and there are several.
        NotInCheckpointError: There are none at all.
    """
    if name is not None and part.type not in (POLICY, MODULE):
        return name, member(part, name)
    found = all_members(part, "policies")
    if len(found) > 1:
        raise InvalidArgumentError(argument, None, tuple(found), _SEVERAL)
    ((told, one),) = found.items()
    return name or told, one  # a part that is one itself may be in a folder of any name


_SEVERAL = "there are several, pass one of them"


def of_each(
    checkpoint: Any,
    policy_id: str | None,
    filesystem: Any,
    wanted: str,
    take: Callable[[Member], object],
) -> Any:
    """Return something of one policy or module, or of each by its id where there are several.

    Args:
        checkpoint: A folder or file, see `find`.
        policy_id: Whose it is to be; None for all.
        filesystem: Where to look the checkpoint up.
        wanted: What to call it in messages.
        take: Returns it.

    Raises:
        ComponentNotFoundError: There is no policy or module of that id.
        NotInCheckpointError: There are none at all.
    """
    part = find(checkpoint, filesystem)
    if policy_id is not None:
        return take(member(part, policy_id))
    taken = {name: take(one) for name, one in all_members(part, wanted).items()}
    return next(iter(taken.values())) if len(taken) == 1 else taken


def modules(part: Part) -> Part:
    """Return the nearest part below that has RLModules, or is one.

    Raises:
        NotInCheckpointError: There is none.
    """
    found = _modules(part)
    if found is None:
        reason = "policies of the old API stack are no modules; see migrate_to_rl_module"
        raise NotInCheckpointError(part.path, "RLModule", reason)
    return found


def module_of(part: Part, name: str, found: Member) -> Member:
    """Return the module whose weights a policy has, as in 1.2; any other member as it is."""
    below = _modules(part) if isinstance(found, Policy) else None
    return found if below is None else _member(below, name) or found


def _modules(part: Part) -> Part | None:
    if part.type in (MODULE, MODULES):
        return part
    below = (child for way in _WAYS[1:] if (child := part.child(way)) is not None)
    return next((found for child in below if (found := _modules(child))), None)


def _in_one_file(part: Part) -> dict[str, Member]:
    """Return the policies whose states are in the Algorithm's own, as Ray had it up to 2.0."""
    path = part.state_path
    worker = read_nested((fields(part.state) or {}).get("worker"), path)
    states = _first(worker, "policy_states", "state")
    if not states and "weights" in (fields(part.state) or {}):  # one without workers, like ES
        return {_DEFAULT: Policy(path, lambda: part.state)}
    specs = _first(worker, "policy_specs")
    return {
        str(name): Policy(path, partial(read_nested, state, path), specs.get(name))
        for name, state in states.items()
    }


def _first(worker: Any, *names: str) -> dict[Any, Any]:
    found = fields(worker) or {}
    return next((found[name] for name in names if isinstance(found.get(name), dict)), {})
