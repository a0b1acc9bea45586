"""Checking a whole checkpoint against its digests; of what RLlib wrote, as much as can be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from tune_ckpt.errors import (
    CorruptDataError,
    Fault,
    IncompleteCheckpointError,
    NotACheckpointError,
    StorageError,
    TuneCkptError,
    UntrustedPickleError,
)
from tune_ckpt.formats.io import Source, read_range
from tune_ckpt.tree.files import check_file
from tune_ckpt.tree.inspection.contents import loads
from tune_ckpt.tree.inspection.foreign import (
    ForeignComponent,
    Opened,
    open_any,
    open_below,
    open_folder,
)
from tune_ckpt.tree.inspection.told_members import check_members
from tune_ckpt.tree.inspection.verification import Report
from tune_ckpt.tree.metadata import Metadata
from tune_ckpt.tree.not_checkpoints import is_of_old_rllib, is_surely_none
from tune_ckpt.tree.progress import Advance, Watched, bytes_bar
from tune_ckpt.tree.reading import OpenComponent, open_tree
from tune_ckpt.tree.storage.store import Store, open_store

_THREADS = min(4, os.cpu_count() or 1)  # each document is read by several, too


def verify(path: Any, *, progress: bool = False, filesystem: Any = None) -> Report:
    """Check every byte of a checkpoint and report every fault.

    >>> verify("checkpoint").ok
    True

    Files are read in parallel, by chunks: it takes little memory, whatever their size. Only those
    that RLlib wrote itself are parsed, inertly and one at a time, each as a whole.

    Args:
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        progress: Show a progress bar on stderr.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Returns:
        A report; it never raises for what is wrong with the checkpoint itself.
    """
    store = open_store(path, filesystem)
    for _ in range(_TRIES):
        before = _metadata(store)
        report = _looked_through(store, progress)
        whole = report.ok and not report.warnings
        if whole or _metadata(store) == before:  # else it may be parts of two checkpoints
            break
    return report


_TRIES = 10  # each after the first because a writer replaced the checkpoint meanwhile


def _metadata(store: Store) -> Metadata | None:
    try:
        return open_tree(store).metadata
    except TuneCkptError:
        return None


def _looked_through(store: Store, progress: bool) -> Report:
    report = Report(store.location)
    with _threads() as pool:
        jobs = list(_survey(report, partial(_open_root, store), pool))
        nbytes = sum(job.nbytes for job in jobs)
        with bytes_bar(f"Verifying {store.location}", nbytes, shown=progress) as advance:
            for done in pool.map(lambda job: job.run(advance), jobs):
                report.nbytes += done.nbytes
                report.faults += [_fault(report, error) for error in done.errors]
    report.faults.sort(key=str)
    report.warnings.sort(key=str)
    return report


@contextmanager
def _threads() -> Iterator[Executor]:
    pool = ThreadPoolExecutor(_THREADS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt, nobody wants the rest


def _fault(report: Report, error: TuneCkptError) -> Fault:
    place = str(getattr(error, "file", None) or getattr(error, "path", ""))
    reason = getattr(error, "reason", None)
    if isinstance(error, IncompleteCheckpointError):
        reason = "it is unfinished: metadata.json, which is written last, is not there"
    elif isinstance(error, StorageError):
        reason = f"it is unreadable (cannot {error.operation}: {error.reason})"
    return Fault(_relative(report, place), str(error) if reason is None else reason)


def _relative(report: Report, path: str) -> str:
    # In the middle of a swap the checkpoint is elsewhere: then the whole path is told.
    return f"{path}/".removeprefix(f"{report.path.rstrip('/')}/").rstrip("/")


# -------------------------------------------------------------------------------- single files


@dataclass(frozen=True)
class _Done:
    nbytes: int
    errors: list[TuneCkptError]


@dataclass(frozen=True)
class _Job:
    """One file to be checked; ``check`` gets what to watch its source with."""

    nbytes: int
    check: Callable[[Callable[[Source], Source]], None]

    def run(self, advance: Advance) -> _Done:
        """Check one file, and tell how far it is."""
        watched: list[Watched] = []

        def watch(source: Source) -> Source:
            """Return a source that tells how much is read of it."""
            watched.append(Watched(source, advance))
            return watched[-1]

        errors = []
        try:
            self.check(watch)
        except TuneCkptError as error:
            errors.append(error)
        nbytes = sum(source.done_nbytes for source in watched)
        advance(max(0, self.nbytes - nbytes))  # what a fault kept from being read
        return _Done(nbytes, errors)


_WHOLE_FILE = Lock()  # one at a time: each is in memory as a whole


def _check_parsable(opened: ForeignComponent, name: str, watch: Callable[[Source], Source]) -> None:
    with _WHOLE_FILE, opened.store.open(name) as source:
        data = bytes(read_range(watch(source), 0, source.nbytes))
        try:
            found = loads(data, source.name)
        except UntrustedPickleError:
            return  # it can be parsed, but not be known
    if name in opened.states:
        check_members(opened, found)


# ------------------------------------------------------------------------------ the whole tree


@dataclass
class _Part:
    """What one component's metadata and folder tell."""

    jobs: list[_Job] = field(default_factory=list)
    below: list[Callable[[], Opened | None]] = field(default_factory=list)
    errors: list[TuneCkptError] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    unverified: bool = False


def _survey(report: Report, root: Callable[[], Opened | None], pool: Executor) -> Iterator[_Job]:
    level = [root]
    while level:
        parts = list(pool.map(_part, level))
        level = [opener for part in parts for opener in part.below]
        for part in parts:
            report.unverified |= part.unverified
            report.faults += [_fault(report, error) for error in part.errors]
            report.warnings += [
                Fault(_relative(report, warning.path), warning.reason) for warning in part.warnings
            ]
            yield from part.jobs


def _part(opener: Callable[[], Opened | None]) -> _Part:
    part = _Part()
    try:
        opened = opener()
        if isinstance(opened, OpenComponent):
            _add_ours(part, opened)
        elif opened is not None:
            _add_foreign(part, opened)
        part.unverified = not isinstance(opened, OpenComponent)
    except TuneCkptError as error:
        part.errors.append(error)
    return part


def _add_ours(part: _Part, opened: OpenComponent) -> None:
    store, metadata = opened.store, opened.metadata
    for file in metadata.files.values():
        part.jobs.append(_Job(file.nbytes, partial(check_file, store, file, metadata.format)))
    part.below += [partial(opened.child, name) for name in metadata.components]
    left = [entry.name for entry in store.list() if entry.name not in opened.owned_names]
    reason = "it does not belong to the checkpoint"
    part.warnings += [Fault(store.path(name), reason) for name in left]


def _add_foreign(part: _Part, opened: ForeignComponent) -> None:
    store = opened.store
    part.errors += [CorruptDataError(store.path(name), "it is missing") for name in opened.missing]
    for path in opened.missing_folders:
        part.errors.append(CorruptDataError(store.path(path), "the folder is missing or empty"))
    for file in opened.files:
        part.jobs.append(_Job(file.nbytes, partial(_check_parsable, opened, file.name)))
    part.below += [partial(open_below, child) for _, child in opened.children()]
    reason = "it is a link to another folder, and was not followed"
    part.warnings += [Fault(store.path(name), reason) for name in opened.links]


def _open_root(store: Store) -> Opened | None:
    try:
        return open_any(store)
    except NotACheckpointError:
        if is_surely_none(store):
            raise
    found = open_folder(store)
    is_old = is_of_old_rllib(file.name for file in found.files)
    return found if is_old else None  # of some other library: nothing is known of it
