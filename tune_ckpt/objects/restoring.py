"""From a checkpoint into an object: all of it, or with ``strict=True`` nothing.

Three steps, of which only the last one touches the object: read what the object may take, compare
all of it, give it.
"""

from __future__ import annotations

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
from tune_ckpt.objects.parts import Parts, read_parts
from tune_ckpt.objects.selection import ROOT
from tune_ckpt.objects.visit import Visit
from tune_ckpt.objects.wishes import Wishes
from tune_ckpt.tree.inspection.foreign_reading import consistently_or_foreign
from tune_ckpt.tree.storage.folder import Store


def restore_into(
    target: Any, store: Store, wishes: Wishes, *, asked: Any = None, is_new: bool = False
) -> RestoreReport:
    """Restore an object from the checkpoint in a folder.

    Args:
        target: The object.
        store: The checkpoint's folder.
        wishes: How it is to be restored.
        asked: The object whose ``restore_from_path`` this is.
        is_new: Whether nobody will have the object if this fails: its state need not be kept.

    Raises:
        RestoreError, SelfTestError: It does not fit; the object is as it was.
        StateRefusedError: The object's own code raised an error; the object is as it was, unless
            that is told.
    """
    parts = consistently_or_foreign(store, lambda opened: read_parts(opened, target, wishes))
    foreseen = Visit(parts, wishes.selection, touch=False)
    foreseen.component(target, ROOT)
    if wishes.strict is not True:
        return _give(target, parts, wishes, asked)
    if foreseen.problems():
        raise RestoreError(foreseen.report(loaded=False))
    former = Former(target, {} if is_new else foreseen.loaded)
    try:
        return _give(target, parts, wishes, asked)
    except BaseException as error:
        lost = former.give_back(target)
        if isinstance(error, StateRefusedError):
            error.restored = tuple(path for path in lost if path != error.component)
        raise
    finally:
        former.forget()


def _give(target: Any, parts: Parts, wishes: Wishes, asked: Any) -> RestoreReport:
    visit = Visit(parts, wishes.selection, touch=True, asked=asked)
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
