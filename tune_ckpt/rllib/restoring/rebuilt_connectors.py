"""Connectors of the new API stack, made again from their stored classes and arguments.

A configuration has a function that makes them, which is code; the pipeline that it made tells its
connectors by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import Fault
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.references import Reference
from tune_ckpt.objects.trust import Trust
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.member_kinds import arguments
from tune_ckpt.rllib.reading.plain import plain
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.plain_config import plain_config
from tune_ckpt.rllib.restoring.rllib_classes import find_rllib_class

# Those that RLlib adds by itself, and those beside them that somebody chose.
_OWN = re.compile(r"ray\.rllib\.connectors\.common\.(?!flatten_observations|frame_stacking)")
# Where Ray 2.60 has partials, and the classes elsewhere.
_CONNECTORS = "ray.rllib.connectors"
_MOVED = {
    f"{_CONNECTORS}.env_to_module.{old}": f"{_CONNECTORS}.common.{new}"
    for old, new in (
        ("flatten_observations:FlattenObservations", "flatten_observations:FlattenObservations"),
        ("frame_stacking:FrameStackingEnvToModule", "frame_stacking:FrameStacking"),
    )
}


def env_to_module_connectors(part: Part, trust: Trust, account: Account) -> Callable[..., Any]:
    """Return a function that makes the connectors which somebody chose, as RLlib wants it.

    Args:
        part: The Algorithm in the checkpoint.
        trust: Whose classes are taken.
        account: Takes those that are not.
    """
    told = (_recipe(one, part, trust, account) for one in stored_connectors(part))
    made = [recipe for recipe in told if recipe is not None]

    def make(*_: Any, **__: Any) -> list[Any]:
        """Return new connectors."""
        return [cls(*args, **kwargs) for cls, args, kwargs in made]

    return make


def stored_connectors(part: Part) -> list[Any]:
    """Return class, arguments and keyword arguments of each, as they were read, inertly."""
    runner = part.child("env_runner")
    pipeline = None if runner is None else runner.child("env_to_module_connector")
    if pipeline is None:
        return []
    told = arguments(pipeline)[1].get("connectors")
    found = told if isinstance(told, list | tuple) else _of_folders(pipeline)
    return [one for one in found if isinstance(one, tuple | list) and len(one) == 3]


def is_own(name: str) -> bool:
    """Say whether a connector is one that RLlib adds by itself, by its class's name."""
    return _OWN.match(name) is not None


def _of_folders(pipeline: Part) -> list[Any]:
    """Return what the connectors' own folders tell, as up to Ray 2.40; in the order of names."""
    found = ((part.ctor, *arguments(part)) for part in pipeline.children("ConnectorV2").values())
    # The first arguments are the spaces, which a pipeline gives to its connectors by itself.
    return [
        (ctor["class"], args[_SPACES:], kwargs)
        for ctor, args, kwargs in found
        if isinstance(ctor, dict) and isinstance(ctor.get("class"), Opaque)
    ]


_SPACES = 2


def _recipe(
    stored: Any, part: Part, trust: Trust, account: Account
) -> tuple[Any, list[Any], dict[str, Any]] | None:
    from ray.rllib.connectors.connector_v2 import ConnectorV2

    cls, args, kwargs = plain(stored, part.path)
    if not isinstance(cls, Reference) or is_own(cls.name):
        return None
    if not (cls.name.startswith("ray.rllib.") or trust.covers(cls.name)):
        account.left_out.append(Fault(f"env_to_module_connector/{cls.name}", "it is not trusted"))
        return None
    name = _MOVED.get(cls.name, cls.name)
    found = find_rllib_class(name, ConnectorV2, trust, part.path)
    given, lost = plain_config({"args": list(args), **kwargs}, trust)
    account.left_out += [Fault(f"{cls.name}/{fault.path}", fault.reason) for fault in lost]
    return found, given.pop("args"), given
