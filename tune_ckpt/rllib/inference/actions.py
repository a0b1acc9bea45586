"""From a network's outputs to an environment's actions, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tune_ckpt.errors import NotInCheckpointError
from tune_ckpt.rllib.reading.spaces import Space

NORMALIZED, CLIPPED, AS_THEY_ARE = "normalized", "clipped", "as they are"


@dataclass(frozen=True)
class Actions:
    """How actions are made without exploration: the best choice, or the mean.

    Attributes:
        space: The environment's space of actions.
        transform: What is done to real numbers: ``normalized`` means that [-1, 1] is brought to the
            space's bounds and clipped there.
    """

    space: Space
    transform: str = NORMALIZED

    @classmethod
    def of(cls, space: Space, config: dict[str, Any], path: str) -> Actions:
        """Return how actions are made under a configuration; RLlib's default is to normalize.

        Raises:
            NotInCheckpointError: The space is of a kind that is not supported.
        """
        if space["space"] not in ("box", "discrete", "multi-discrete"):
            reason = f"its actions are of the kind {space['space']!r}"
            raise NotInCheckpointError(path, "supported space of actions", reason)
        if config.get("normalize_actions", True):
            return cls(space, NORMALIZED)
        return cls(space, CLIPPED if config.get("clip_actions") else AS_THEY_ARE)

    @property
    def choices(self) -> tuple[int, ...]:
        """How many choices there are in each place; nothing for real numbers."""
        kind = self.space["space"]
        if kind == "discrete":
            return (int(self.space["n"]),)
        if kind == "multi-discrete":
            return tuple(int(n) for n in np.ravel(self.space["nvec"]))
        if "int" in str(self.space["dtype"]):
            n = int(np.max(self.space["high"])) - int(np.min(self.space["low"])) + 1
            return (n,) * int(np.prod(self.shape))
        return ()

    @property
    def start(self) -> int:
        """The first choice: a box's lower bound, if actions are brought to its bounds."""
        is_box = self.space["space"] == "box" and bool(self.choices)
        return int(np.min(self.space["low"])) if is_box and self.transform == NORMALIZED else 0

    @property
    def shape(self) -> tuple[int, ...]:
        """An action's shape; that of a single choice has no dimensions."""
        return tuple(self.space.get("shape", np.shape(self.space.get("nvec", 0))))

    def constants(self) -> dict[str, Any]:
        """Return bounds and scale by name; nothing where actions are left as they are."""
        if self.choices or self.transform == AS_THEY_ARE:
            return {}
        low, high = (
            np.broadcast_to(self.space[name], self.shape).astype(np.float32).ravel()
            for name in ("low", "high")
        )
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            return {} if self.transform == NORMALIZED else {"low": low, "high": high}
        scale = {"scale": (high - low) / 2} if self.transform == NORMALIZED else {}
        return {"low": low, "high": high, **scale}
