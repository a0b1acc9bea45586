"""Which of a checkpoint's policies or modules an Algorithm is to have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.rllib.reading.config import learner_only
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.member_kinds import Member, Module
from tune_ckpt.rllib.reading.members import all_members, check_told, member, module_of


@dataclass(frozen=True)
class Chosen:
    """The policies or modules that are wanted.

    Attributes:
        members: They, by their ids.
        on_learners: The modules that do not act, such as a model of curiosity.
    """

    members: dict[str, Member]
    on_learners: Collection[str] = ()

    @property
    def is_new_stack(self) -> bool:
        """Whether they are RLModules."""
        return all(isinstance(member, Module) for member in self.members.values())

    @property
    def acting(self) -> dict[str, Member]:
        """Those that act."""
        return {n: one for n, one in self.members.items() if n not in self.on_learners}


def choose(part: Part, policy_ids: str | Collection[str] | None) -> Chosen:
    """Return the policies or modules that are wanted of a checkpoint.

    Args:
        part: The Algorithm in it.
        policy_ids: Their ids, or one; None for all.

    Raises:
        InvalidArgumentError: None is wanted.
        ComponentNotFoundError, NotInCheckpointError: There is no such policy, or none at all.
    """
    if policy_ids is not None and not policy_ids:
        raise InvalidArgumentError("policy_ids", policy_ids, ("at least one policy",))
    if policy_ids is None:
        check_told(part)
        found = all_members(part, "policies")
    else:
        names = [policy_ids] if isinstance(policy_ids, str) else sorted(policy_ids)
        found = {name: member(part, name) for name in names}
    # A policy that has the weights of a module, in 1.2, has that module elsewhere.
    chosen = {name: module_of(part, name, one) for name, one in found.items()}
    return Chosen(chosen, learner_only(part))
