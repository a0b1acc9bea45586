"""The connectors of the new API stack before a module, as a checkpoint names them."""

from __future__ import annotations

import re
from typing import Any

from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.member_kinds import arguments
from tune_ckpt.rllib.reading.members import members
from tune_ckpt.rllib.reading.plain import plain
from tune_ckpt.rllib.reading.spaces import OBSERVATIONS, spaces_of

Connector = tuple[str, Any, Any]  # its class's name, arguments and keyword arguments

# Those that RLlib adds by itself, and those beside them that somebody chose.
_OWN = re.compile(r"ray\.rllib\.connectors\.common\.(?!flatten_observations|frame_stacking)")
_SPACES = 2  # the first arguments, which a pipeline gives to its connectors by itself


def env_to_module_pipeline(part: Part) -> Part | None:
    """Return the part of an Algorithm that this pipeline is, or None."""
    runner = part.child("env_runner")
    return None if runner is None else runner.child("env_to_module_connector")


def stored_connectors(part: Part) -> list[Connector]:
    """Return what the connectors in an Algorithm's pipeline are made with, as plain data."""
    return [
        (name, *plain((args, kwargs), part.path)) for name, args, kwargs in read_connectors(part)
    ]


def read_connectors(part: Part) -> list[Connector]:
    """Return the same as it was read, inertly."""
    pipeline = env_to_module_pipeline(part)
    if pipeline is None:
        return []
    told = arguments(pipeline)[1].get("connectors")
    found = told if isinstance(told, list | tuple) else _of_folders(pipeline)
    whole = (one for one in found if isinstance(one, list | tuple) and len(one) == 3)
    named = ((plain(cls, part.path), args, kwargs) for cls, args, kwargs in whole)
    return [(cls.name, args, kwargs) for cls, args, kwargs in named if isinstance(cls, Reference)]


def in_place_of_preprocessors(part: Part) -> list[Connector]:
    """Return the connector that does what the workers' preprocessors did in a hybrid of 1.2.

    They were those of the old API stack, and made an array of any other observation. Beside
    images nothing is returned: of which agent's observations it is to be, only a function knows.
    """
    if part.child("learner") is None:
        return []
    spaces = [spaces_of(member)[OBSERVATIONS] or {} for member in members(part).values()]
    are_flat = all(len(space.get("shape") or ()) == 1 for space in spaces)
    if not (are_flat and any("original_space" in space for space in spaces)):
        return []
    return [(_FLATTEN, (), {"multi_agent": True} if len(spaces) > 1 else {})]


_FLATTEN = "ray.rllib.connectors.env_to_module.flatten_observations:FlattenObservations"


def is_own(name: str) -> bool:
    """Say whether a connector is one that RLlib adds by itself, by its class's name."""
    return _OWN.match(name) is not None


def _of_folders(pipeline: Part) -> list[Any]:
    """Return what the connectors' own folders tell, as up to Ray 2.40; in the order of names."""
    children = pipeline.children("ConnectorV2").values()
    found = ((child.ctor, *arguments(child)) for child in children)
    return [
        (ctor.get("class"), args[_SPACES:], kwargs)
        for ctor, args, kwargs in found
        if isinstance(ctor, dict)
    ]
