"""Something of each policy or RLModule of a checkpoint, or of one: weights, spaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import ComponentNotFoundError, NotInCheckpointError
from tune_ckpt.rllib.reading.finding import find
from tune_ckpt.rllib.reading.members import Member, member_or_none, members


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
    if policy_id is not None and (one := member_or_none(part, policy_id)):
        return take(one)
    found = members(part)
    if not found:
        reason = f"this {part.type} has neither policies nor modules; pass the whole checkpoint"
        raise NotInCheckpointError(part.path, wanted, reason)
    if policy_id is not None:
        raise ComponentNotFoundError(part.path, policy_id, tuple(found))
    taken = {name: take(member) for name, member in found.items()}
    return next(iter(taken.values())) if len(taken) == 1 else taken
