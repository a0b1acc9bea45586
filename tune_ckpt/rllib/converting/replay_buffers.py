"""Replay buffers of the old API stack, in the one form in which Ray 2.60 builds them.

Ray 2.60 asks a replay buffer's class whether it has the text "EpisodeReplayBuffer" in it, which a
class cannot answer; so DQN, SAC and CQL of the old stack do not build at all. The subclass that is
described here answers no. It is a class like its base in all else, and brings no code along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.pickling import Call
from tune_ckpt.rllib.reading.plain import with_colon

_PACKAGE = "ray.rllib.utils.replay_buffers"


def of_old_stack(told: Mapping[str, Any] | None, default: str) -> dict[str, Any]:
    """Return what is told of a replay buffer, with a kind that the old API stack takes.

    Args:
        told: What is told; of a buffer of the new API stack, today's default, its size only.
        default: The kind that the algorithm had by itself.
    """
    told = told or {}
    if "Episode" in str(told.get("type")):
        told = {key: told[key] for key in ("capacity",) if key in told}
    if told.get("type") is not None:
        return {**told}
    return {"capacity": 50000, **told, "type": default}


def buffer_class(base: Reference | str) -> Call:
    """Return the call that makes the subclass of a replay buffer's class.

    Args:
        base: The class; a name alone is that of one of RLlib's.
    """
    if isinstance(base, str):
        base = Reference(with_colon(base if "." in base else f"{_PACKAGE}.{base}"))
    module, _, name = base.name.partition(":")
    answers = {"__contains__": Reference("operator:not_")}
    meta = Call(Reference("builtins:type"), (f"{name}Type", (Reference("abc:ABCMeta"),), answers))
    return Call(meta, (name, (base,), {"__module__": module}))


def live_buffer_class(base: type | str) -> type:
    """Return that subclass itself, for an Algorithm that is built here.

    Args:
        base: The class; a name alone is that of one of RLlib's.
    """
    from abc import ABCMeta
    from importlib import import_module
    from operator import not_

    if isinstance(base, str):
        module, _, name = (base if "." in base else f"{_PACKAGE}.{base}").rpartition(".")
        base = getattr(import_module(module), name)
    assert isinstance(base, type)
    meta = type(f"{base.__name__}Type", (ABCMeta,), {"__contains__": not_})
    made: type = meta(base.__name__, (base,), {"__module__": base.__module__})
    return made
