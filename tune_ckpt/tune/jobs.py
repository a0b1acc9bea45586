"""What the callback's actor does with a checkpoint; what can be expected to fail is an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tune_ckpt.errors import NotACheckpointError, TuneCkptError
from tune_ckpt.tree.inspection.verify import verify
from tune_ckpt.tune.outcomes import Action, Outcome, Status, failed
from tune_ckpt.tune.source import Owner, Source, drop_snapshots

Done = tuple[Status, str, int, int]  # status, detail, size of the original, size of what is new


def outcome_of(action: Action, source: Source, job: Callable[[Source], Done]) -> Outcome:
    """Do something with a checkpoint, and tell what came of it."""
    start = time.monotonic()
    try:
        status, detail, nbytes, new_nbytes = job(source)
        outcome = Outcome(source.path, action, status, detail, nbytes=nbytes, new_nbytes=new_nbytes)
    except (TuneCkptError, OSError) as error:
        outcome = _explained(source, action, error)
    return replace(outcome, seconds=time.monotonic() - start)


def _explained(source: Source, action: Action, error: Exception) -> Outcome:
    if _is_gone(source):
        reason = "Ray deleted it before that (num_to_keep)"
        return Outcome(source.path, action, "skipped", reason)
    if isinstance(error, NotACheckpointError):
        reason = f"it is no component tree ({error.found})"
        return Outcome(source.path, action, "skipped", reason)
    return failed(source.path, action, error)


def _is_gone(source: Source) -> bool:
    """Say whether it was deleted, and nothing was kept of it; not where the storage fails."""
    try:
        return not source.store.list()
    except TuneCkptError:
        return False


def verify_one(source: Source) -> list[Outcome]:
    """Check every byte of a checkpoint."""
    with source.used():
        return [outcome_of("verify", source, _verified)]


def tidy(trials: Sequence[str], owner: Owner) -> list[Outcome]:
    """Delete what lost jobs left in the trials' folders, on the local disk."""
    for trial in trials:
        drop_snapshots(trial, owner)
    return []


def _verified(source: Source) -> Done:
    report = verify(source.readable, filesystem=source.filesystem)
    report.raise_faults()
    status: Status = "skipped" if report.unverified else "done"
    detail = "it has no digests" if report.unverified else ""
    return status, detail, report.nbytes, 0
