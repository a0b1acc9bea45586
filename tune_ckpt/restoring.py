"""From a checkpoint into an object: all of it, or with ``strict=True`` nothing.

Three steps, of which only the last one touches the object: read what the object may take, compare
all of it, give it.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from tune_ckpt.adapters.registry import Stored
from tune_ckpt.classes import name_of_class
from tune_ckpt.components import components_of, fit_of, own_state, set_state
from tune_ckpt.errors import (
    RestoreError,
    RestoreReport,
    RestoreWarning,
    SelfTestError,
    StateRefusedError,
)
from tune_ckpt.parts import Parts, read_parts
from tune_ckpt.selection import ROOT
from tune_ckpt.tree.folder import Store
from tune_ckpt.tree.foreign_reading import consistently_or_foreign
from tune_ckpt.trust import Trust
from tune_ckpt.visit import Visit
from tune_ckpt.wishes import Wishes


def restore_into(target: Any, store: Store, wishes: Wishes) -> RestoreReport:
    """Restore an object from the checkpoint in a folder.

    Raises:
        RestoreError, SelfTestError: It does not fit; the object is as it was.
        StateRefusedError: The object's own code raised an error.
    """
    parts = consistently_or_foreign(store, lambda opened: read_parts(opened, target, wishes))
    foreseen = Visit(parts, wishes.selection, touch=False)
    foreseen.component(target, ROOT)
    if wishes.strict is True and foreseen.problems():
        raise RestoreError(foreseen.report(loaded=False))
    # Only what appears while the object is restored, or is computed then, can still go wrong.
    is_open = foreseen.untaken() or parts.selftests
    backup = _Backup(target) if wishes.strict is True and is_open else None
    try:
        return _give(target, parts, wishes)
    except BaseException as error:
        if backup is not None:
            backup.give_back(target)
            if isinstance(error, StateRefusedError):
                error.restored = ()
        raise


def _give(target: Any, parts: Parts, wishes: Wishes) -> RestoreReport:
    visit = Visit(parts, wishes.selection, touch=True)
    visit.component(target, ROOT)
    report = visit.report()
    if wishes.strict is True and not report.ok:
        raise RestoreError(visit.report(loaded=False))
    failed = tuple(visit.selftest_faults(wishes.tolerance))
    if wishes.strict is True and failed:
        raise SelfTestError(parts.location, failed)
    visit.give_last()
    if failed:
        report = visit.report(failed)
    if wishes.strict == "warn" and not report.ok:
        warnings.warn(RestoreWarning(report), stacklevel=4)
    return report


_NOTHING = object()


class _Backup:
    """An object's state before it is restored, to be given back if that fails."""

    def __init__(self, value: Any) -> None:
        try:
            self._state = copy.deepcopy(own_state(value))
        except Exception:  # noqa: BLE001
            self._state = _NOTHING  # an object that cannot tell its state yet has none to lose
        self._children = {name: _Backup(child) for name, child in components_of(value).items()}

    def give_back(self, value: Any) -> None:
        """Give every component its own state again, its owner first: it may make components."""
        if self._state is not _NOTHING:
            stored = Stored(name_of_class(type(value)), self._state, trust=Trust(allow_pickle=True))
            set_state(value, fit_of(value, stored).state)
        for name, child in components_of(value).items():
            if name in self._children:
                self._children[name].give_back(child)
