"""What was read of a checkpoint into an object: all of it, or with ``strict=True`` nothing.

`tune_ckpt.objects.parts` reads what the object may take. Here all of it is compared, and only then
given: if that fails, every component has its former state again.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from tune_ckpt.errors import (
    RestoreError,
    RestoreReport,
    RestoreWarning,
    SelfTestError,
    StateRefusedError,
)
from tune_ckpt.objects.former import Former
from tune_ckpt.objects.parts import Parts
from tune_ckpt.objects.selection import ROOT
from tune_ckpt.objects.visit import Visit
from tune_ckpt.objects.wishes import Wishes


def give_parts(
    target: Any, parts: Parts, wishes: Wishes, *, asked: Any = None, is_new: bool = False
) -> RestoreReport:
    """Restore an object from what was read for it.

    Args:
        target: The object.
        parts: What was read.
        wishes: How it is to be restored.
        asked: The object whose ``restore_from_path`` this is.
        is_new: Whether nobody will use the object if this fails: its state need not be kept.

    Raises:
        RestoreError, SelfTestError: It does not fit; the object is as it was.
        StateRefusedError: The object's own code raised an error; the object is as it was, unless
            that is told.
    """
    foreseen = Visit(parts, wishes.selection, touch=False)
    foreseen.component(target, ROOT)
    if wishes.strict is True and foreseen.problems():
        raise RestoreError(foreseen.report(loaded=False))
    visit = Visit(parts, wishes.selection, touch=True, asked=asked)
    if wishes.strict is not True or is_new:
        return _give(target, visit, wishes)
    former = Former(target, foreseen.loaded)
    try:
        return _give(target, visit, wishes)
    except BaseException as error:
        lost = former.give_back(target, visit.loaded)
        if isinstance(error, StateRefusedError):
            error.restored = tuple(path for path in lost if path != error.component)
        raise
    finally:
        former.forget()


def _give(target: Any, visit: Visit, wishes: Wishes) -> RestoreReport:
    visit.component(target, ROOT)
    report = visit.report()
    if wishes.strict is True and not report.ok:
        raise RestoreError(visit.report(loaded=False))
    failed = tuple(visit.selftest_faults(wishes.tolerance))
    if wishes.strict is True and failed:
        raise SelfTestError(report.path, failed)
    visit.give_last()
    if failed:
        report = visit.report(failed)
    if wishes.strict == "warn" and not report.ok:
        warnings.warn(RestoreWarning(report), stacklevel=_level_of_caller())
    return report


def _level_of_caller() -> int:
    """Return how far up the stack of whoever asks the first code is that is none of ours."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("tune_ckpt."):
        level, frame = level + 1, frame.f_back
    return level
