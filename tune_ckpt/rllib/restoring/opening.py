"""Checkpoints opened for restoring: those of version 0.1 tell as much as the newer ones.

Their one file has no configuration; Tune wrote it beside, or the weights' shapes tell the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tune_ckpt.errors import Fault
from tune_ckpt.rllib.converting.first_generation import Whole, read_whole
from tune_ckpt.rllib.reading.finding import Part, find


@dataclass(frozen=True)
class _Completed(Part):
    """An Algorithm of version 0.1 whose state tells what newer ones tell."""

    whole: Whole

    @cached_property
    def state(self) -> Any:
        """Its state, and what Tune wrote beside it."""
        policies = {name: policy.state for name, policy in self.whole.policies.items()}
        worker = {**(self.whole.state.get("worker") or {}), "state": policies}
        return {**self.whole.state, "worker": worker}


def open_told(checkpoint: Any, filesystem: Any = None) -> tuple[Part, tuple[Fault, ...]]:
    """Return the part of a checkpoint that a path is, and what had to be assumed of it.

    Args:
        checkpoint: See `find`.
        filesystem: See `find`.
    """
    part = find(checkpoint, filesystem)
    if not part.is_first_generation:
        return part, ()
    whole = read_whole(part, checkpoint, filesystem)
    return _Completed(part.folder, part.home, part.state_file, whole), whole.notes
