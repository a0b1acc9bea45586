"""The policies and RLModules in a part of a checkpoint, wherever its generation keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

from tune_ckpt.errors import ComponentNotFoundError, CorruptDataError, NotInCheckpointError
from tune_ckpt.rllib.finding import ALGORITHM, MODULE, MODULES, POLICIES, POLICY, Part, find
from tune_ckpt.rllib.plain import fields
from tune_ckpt.rllib.reading import read_nested

SPEC = ("policy_class", "observation_space", "action_space", "config")
DEFAULT = "default_policy"  # RLlib's name for the only one

# The folders that lead to policies or modules, the nearest to acting first.
_WAYS = ("policies", "learner_group", "learner", "rl_module", "module_state", "env_runner")


class Member(Protocol):
    """A policy or an RLModule."""

    @property
    def path(self) -> str:
        """The file that its state is in."""

    @property
    def weights(self) -> Any:
        """Its weights as they are stored; None where there are none."""

    @property
    def spec(self) -> dict[Any, Any]:
        """What it was made with: its class, spaces and configuration, as far as that is told."""


@dataclass(frozen=True)
class Policy:
    """A policy of the old API stack.

    Attributes:
        path: The file that its state is in.
        read: Returns the state.
        told: What the Algorithm's state tells of it.
    """

    path: str
    read: Callable[[], Any]
    told: Any = None

    @cached_property
    def state(self) -> dict[Any, Any]:
        """Its state.

        Raises:
            CorruptDataError: It is none of a policy.
        """
        state = self.read()
        if not isinstance(state, dict):
            raise CorruptDataError(self.path, f"a policy's state is no {type(state).__name__}")
        return state

    @property
    def weights(self) -> Any:
        """Its weights; the oldest Ray has nothing but them as the state."""
        return self.state.get("weights", self.state)

    @property
    def spec(self) -> dict[Any, Any]:
        """Its PolicySpec's fields; in Ray 1 it is a tuple."""
        spec = self.state.get("policy_spec", self.told)
        values = getattr(spec, "args", spec)
        if isinstance(values, tuple) and len(values) == len(SPEC):
            return dict(zip(SPEC, values, strict=True))
        return fields(spec) or {}


@dataclass(frozen=True)
class Module:
    """An RLModule of the new API stack.

    Attributes:
        part: Its folder.
    """

    part: Part

    @property
    def path(self) -> str:
        """The file that its state is in."""
        return self.part.state_path

    @property
    def weights(self) -> Any:
        """Its state, which is its weights."""
        return self.part.state

    @cached_property
    def spec(self) -> dict[Any, Any]:
        """Its constructor's arguments, or what the metadata of 1.2 tell."""
        told = self.part.metadata.get("module_spec_dict")
        if isinstance(told, dict):
            return {**told, **(fields(told.get("module_config")) or {})}
        args, kwargs = arguments(self.part)
        return next((found for arg in args if (found := fields(arg))), {}) | kwargs


def arguments(part: Part) -> tuple[tuple[Any, ...], dict[Any, Any]]:
    """Return the constructor arguments of a component, inertly; nothing where it has none."""
    stored = part.ctor.get("ctor_args_and_kwargs") if isinstance(part.ctor, dict) else None
    if not isinstance(stored, tuple | list) or len(stored) != 2:
        return (), {}
    args, kwargs = stored
    return tuple(args), fields(kwargs) or {}


def members(part: Part) -> dict[str, Member]:
    """Return the policies or modules in a part of a checkpoint, by their ids."""
    if part.type == POLICY:
        return {part.name: Policy(part.state_path, lambda: part.state)}
    if part.type == MODULE:
        return {part.name: Module(part)}
    if part.type in (POLICIES, MODULES):
        below = part.children(POLICY, MODULE)
        return {name: member for child in below.values() for name, member in members(child).items()}
    for way in _WAYS:
        child = part.child(way)
        found = members(child) if child is not None else {}
        if found:
            return found
    return _in_one_file(part) if part.type == ALGORITHM else {}


def _in_one_file(part: Part) -> dict[str, Member]:
    """Return the policies whose states are in the Algorithm's own, as Ray had it up to 2.0."""
    path = part.state_path
    worker = read_nested((fields(part.state) or {}).get("worker"), path)
    states = _first(worker, "policy_states", "state")
    if not states and "weights" in (fields(part.state) or {}):  # one without workers, like ES
        return {DEFAULT: Policy(path, lambda: part.state)}
    specs = _first(worker, "policy_specs")
    return {
        str(name): Policy(path, partial(read_nested, state, path), specs.get(name))
        for name, state in states.items()
    }


def _first(worker: Any, *names: str) -> dict[Any, Any]:
    found = fields(worker) or {}
    return next((found[name] for name in names if isinstance(found.get(name), dict)), {})


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
    found = members(part)
    if not found:
        reason = f"this {part.type} has neither policies nor modules; pass the whole checkpoint"
        raise NotInCheckpointError(part.path, wanted, reason)
    if policy_id is not None:
        if policy_id not in found:
            raise ComponentNotFoundError(part.path, policy_id, tuple(found))
        return take(found[policy_id])
    taken = {name: take(member) for name, member in found.items()}
    return next(iter(taken.values())) if len(taken) == 1 else taken
