"""Connectors of the new API stack, made again from their stored classes and arguments.

A configuration has a function that makes them, which is code; the pipeline that it made tells its
connectors by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tune_ckpt.errors import Fault
from tune_ckpt.objects.trust import Trust
from tune_ckpt.rllib.reading.connectors import (
    Connector,
    in_place_of_preprocessors,
    is_own,
    read_connectors,
)
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.restoring.accounting import Account
from tune_ckpt.rllib.restoring.plain_config import plain_config
from tune_ckpt.rllib.restoring.rllib_classes import find_rllib_class


def env_to_module_connectors(part: Part, trust: Trust, account: Account) -> Callable[..., Any]:
    """Return a function that makes the connectors which somebody chose, as RLlib wants it.

    Args:
        part: The Algorithm in the checkpoint.
        trust: Whose classes are taken.
        account: Takes those that are not.
    """
    stored = read_connectors(part) or in_place_of_preprocessors(part)
    told = (_recipe(one, part.path, trust, account) for one in stored)
    made = [recipe for recipe in told if recipe is not None]

    def make(*_: Any, **__: Any) -> list[Any]:
        """Return new connectors."""
        return [cls(*args, **kwargs) for cls, args, kwargs in made]

    return make


def _recipe(
    stored: Connector, path: str, trust: Trust, account: Account
) -> tuple[Any, list[Any], dict[str, Any]] | None:
    from ray.rllib.connectors.connector_v2 import ConnectorV2

    name, args, kwargs = stored
    if is_own(name):
        return None
    if not (name.startswith("ray.rllib.") or trust.covers(name)):
        account.left_out.append(Fault(f"env_to_module_connector/{name}", "it is not trusted"))
        return None
    found = find_rllib_class(name, ConnectorV2, trust, path)
    given, lost = plain_config({"args": list(args), **kwargs}, trust)
    account.left_out += [Fault(f"{name}/{fault.path}", fault.reason) for fault in lost]
    return found, given.pop("args"), given
