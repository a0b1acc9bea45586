"""What objects were before a restore, so that they can be it again if that fails.

States are copied: an object may take a new one into the same memory. What is in actors is kept
there, by each of them.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.objects.actors import ActorGroup, actors_of
from tune_ckpt.objects.adapters.registry import Stored
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.components import descend, may_grow, walk
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
            for path, value in walk(target)
            if path in restored or any(below(path, owner) for owner in owners)
        }

    def give_back(self, target: Any, changed: Collection[str]) -> list[str]:
        """Give every component its own state again, its owner first: it may make components.

        Args:
            target: The object.
            changed: The paths of those that were given a state meanwhile.

        Returns:
            The paths of those that have not got their own again.
        """
        lost, last, seen = list[str](), list[tuple[str, Any]](), set[str]()
        try:
            for path, value in walk(target):
                seen.add(path)
                if getattr(value, "restored_last", False):
                    last.append((path, value))
                else:
                    lost += self._give_one(path, value, changed)
        except Exception as error:  # noqa: BLE001  # as below
            _log.warning("The object does not tell its components any more: %s", error)
            lost += [path for path in changed if path not in seen]
        return lost + [path for one in last for path in self._give_one(*one, changed)]

    def _give_one(self, path: str, value: Any, changed: Collection[str]) -> list[str]:
        try:
            _reinstate(value, self._kept.get(path, _NOTHING), path in changed)
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
    except Exception:  # noqa: BLE001  # it may have none yet, and shall get one
        return _NOTHING


def _reinstate(value: Any, kept: Any, is_changed: bool) -> None:
    if isinstance(kept, ActorGroup):
        kept.each(_reinstate_there, is_changed)
    elif kept is not _NOTHING:
        stored = Stored(name_of_class(type(value)), kept, trust=Trust(allow_pickle=True))
        set_state(value, fit_of(value, stored).state)
    elif is_changed:
        raise LookupError("it had none that could be copied")


# ------------------------------------------------------------------------------------ in actors

_KEPT: dict[str, Any] = {}  # by the part; an actor has one object


def _keep_there(value: Any, part: str) -> None:
    _KEPT[part] = _copy_of_state(descend(value, part))


def _reinstate_there(value: Any, part: str, is_changed: bool) -> None:
    _reinstate(descend(value, part), _KEPT.get(part, _NOTHING), is_changed)


def _forget_there(value: Any, part: str) -> None:
    _KEPT.pop(part, None)
