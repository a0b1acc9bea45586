"""Checkpoints of any older Ray as ones that Ray 2.60 loads, made on their files alone."""

from __future__ import annotations

from typing import Any

from tune_ckpt.errors import Fault
from tune_ckpt.rllib.finding import ALGORITHM, find
from tune_ckpt.rllib.folders import open_empty, write
from tune_ckpt.rllib.given import given
from tune_ckpt.rllib.upgrading_old import OldStack


class Upgraded(str):
    """Where an upgraded checkpoint is; it is the path.

    Attributes:
        notes: What could not be carried, by its path.
    """

    notes: tuple[Fault, ...] = ()


def upgrade_checkpoint(src: Any, dst: Any, config: Any = None, env: Any = None, *, filesystem: Any = None) -> Upgraded:
    part = find(src, filesystem)
    target = open_empty(dst, filesystem, "upgrade into")
    old = OldStack(given(config, env))
    folder = (old.algorithm if part.type == ALGORITHM else old.policy)(part)
    write(target, folder)
    upgraded = Upgraded(target.location)
    upgraded.notes = tuple(old.notes)
    return upgraded
