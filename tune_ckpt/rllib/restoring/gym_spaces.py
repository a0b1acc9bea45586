"""From a space as plain data to Gymnasium's object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tune_ckpt.errors import CorruptDataError, NotInCheckpointError
from tune_ckpt.rllib.reading.member_kinds import Member
from tune_ckpt.rllib.reading.spaces import ACTIONS, OBSERVATIONS, Space, spaces_of


def make_spaces(member: Member) -> tuple[Any, Any]:
    """Return the Gymnasium spaces of a policy's or module's observations and actions.

    Raises:
        NotInCheckpointError: One is not told, or of a kind that RLlib's models do not take.
        CorruptDataError: They are damaged.
    """
    spaces = spaces_of(member)
    observations, actions = spaces[OBSERVATIONS], spaces[ACTIONS]
    if observations is None or actions is None:
        raise NotInCheckpointError(member.path, "spaces", "only one of the two is told")
    return make_space(observations, member.path), make_space(actions, member.path)


def make_space(space: Space, file: str) -> Any:
    """Return the Gymnasium space that plain data tell of.

    Args:
        space: What `load_spaces` returns of one space.
        file: What to call its file in messages.

    Raises:
        NotInCheckpointError: It is of a kind that RLlib's models do not take.
        CorruptDataError: It is damaged.
    """
    kind = space["space"]
    make = _KINDS.get(kind)
    if make is None:
        raise NotInCheckpointError(file, "space that RLlib's models take", f"it is a {kind!r}")
    try:
        made = make(space, file)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise CorruptDataError(file, f"it holds a malformed space ({error!r})") from error
    if "original_space" in space:
        made.original_space = make_space(space["original_space"], file)
    return made


def _box(space: Space, _: str) -> Any:
    from gymnasium.spaces import Box

    shape, dtype = tuple(space["shape"]), np.dtype(space["dtype"])
    low, high = (np.broadcast_to(space[name], shape).astype(dtype) for name in ("low", "high"))
    return Box(low, high, shape, dtype.type)


def _discrete(space: Space, _: str) -> Any:
    from gymnasium.spaces import Discrete

    return Discrete(int(space["n"]), start=int(space.get("start", 0)))


def _multi_binary(space: Space, _: str) -> Any:
    from gymnasium.spaces import MultiBinary

    return MultiBinary(space["n"])


def _multi_discrete(space: Space, _: str) -> Any:
    from gymnasium.spaces import MultiDiscrete

    dtype: Any = np.dtype(space["dtype"]).type
    return MultiDiscrete(space["nvec"], dtype=dtype, start=space.get("start"))


def _dict(space: Space, file: str) -> Any:
    from gymnasium.spaces import Dict

    return Dict({name: make_space(part, file) for name, part in space["spaces"].items()})


def _tuple(space: Space, file: str) -> Any:
    from gymnasium.spaces import Tuple

    return Tuple([make_space(part, file) for part in space["spaces"]])


def _text(space: Space, _: str) -> Any:
    from gymnasium.spaces import Text

    return Text(space["max_length"], min_length=space["min_length"], charset=space["charset"])


_KINDS: dict[str, Callable[[Space, str], Any]] = {
    "box": _box,
    "discrete": _discrete,
    "multi-binary": _multi_binary,
    "multi-discrete": _multi_discrete,
    "dict": _dict,
    "tuple": _tuple,
    "text": _text,
}
