"""What objects were before a restore, so that they can be it again if that fails.

States are copied: an object may take a new one into the same memory. What is in actors is kept
there, by each of them.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.objects.actors import ActorGroup, actors_of
from tune_ckpt.objects.adapters.registry import Stored
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.components import may_grow, part_of, walk
from tune_ckpt.objects.object_states import fit_of, own_state, set_state
from tune_ckpt.objects.selection import below
from tune_ckpt.objects.trust import Trust

_log = logging.getLogger(__name__)
_NOTHING = object()


class Former:
    """The states of an object's components, as they are now, where a restore may change them.

    Args:
        target: The object.
        restored: What will be given a state, by the paths in the object.
    """

    def __init__(self, target: Any, restored: Mapping[str, Any]) -> None:
        # With a new state, an owner may drop components that would have none of their own.
        owners = [path for path, value in restored.items() if may_grow(value)]
        self._kept = {
            path: _keep(value)
            for path, value in (walk(target) if restored else ())
            if path in restored or any(below(path, owner) for owner in owners)
        }

    def give_back(self, target: Any) -> list[str]:
        """Give every component its own state again, its owner first: it may make components.

        Returns:
            The paths of those that could not take it.
        """
        failed, last = list[str](), list[tuple[str, Any]]()
        for path, value in walk(target):
            if getattr(value, "restored_last", False):
                last.append((path, value))
            else:
                failed += self._give_one(path, value)
        return failed + [path for one in last for path in self._give_one(*one)]

    def _give_one(self, path: str, value: Any) -> list[str]:
        try:
            _reinstate(value, self._kept.get(path, _NOTHING))
        except Exception as error:  # noqa: BLE001  # there is an error already, and it counts
            _log.warning("The component %s did not take its former state: %s", path, error)
            return [path]
        return []

    def forget(self) -> None:
        """Let go of the states; those in actors do not go by themselves."""
        for kept in self._kept.values():
            if isinstance(kept, ActorGroup):
                with suppress(TuneCkptError):  # all are dead
                    kept.each(_forget_there)
        self._kept.clear()


def _keep(value: Any) -> Any:
    actors = actors_of(value)
    if actors is not None:
        actors.each(_keep_there)
        return actors
    return _copy_of_state(value)


def _copy_of_state(value: Any) -> Any:
    try:
        return copy.deepcopy(own_state(value))
    except Exception:  # noqa: BLE001
        return _NOTHING  # an object that cannot tell its state yet has none to lose


def _reinstate(value: Any, kept: Any) -> None:
    if isinstance(kept, ActorGroup):
        kept.each(_reinstate_there)
    elif kept is not _NOTHING:
        stored = Stored(name_of_class(type(value)), kept, trust=Trust(allow_pickle=True))
        set_state(value, fit_of(value, stored).state)


# ------------------------------------------------------------------------------------ in actors

_KEPT: dict[str, Any] = {}  # by the part; an actor has one object


def _keep_there(value: Any, part: str) -> None:
    _KEPT[part] = _copy_of_state(part_of(value, part))


def _reinstate_there(value: Any, part: str) -> None:
    _reinstate(part_of(value, part), _KEPT.get(part, _NOTHING))


def _forget_there(value: Any, part: str) -> None:
    _KEPT.pop(part, None)
