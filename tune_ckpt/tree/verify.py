"""Checking a whole checkpoint against its digests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.errors import (
    CorruptCheckpointError,
    Fault,
    NotACheckpointError,
    TuneCkptError,
)
from tune_ckpt.tree.reading import OpenComponent, check_file, open_tree, owned_names
from tune_ckpt.tree.store import Store, open_store


@dataclass
class Report:
    """What `verify` found.

    Attributes:
        path: The checkpoint.
        faults: Everything that is wrong, each with its file.
        warnings: What is odd but harmless, such as a leftover file.
        unverified: Whether the checkpoint carries no digests to check (another library wrote it).
        nbytes: How many bytes were checked.
    """

    path: str
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    unverified: bool = False
    nbytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def raise_faults(self) -> None:
        """Do nothing where all is well.

        Raises:
            CorruptCheckpointError: With every fault.
        """
        if self.faults:
            raise CorruptCheckpointError(self.path, tuple(self.faults))

    def __str__(self) -> str:
        lines = [f"{self.path}: {self._verdict()}"]
        lines += [f"  fault    {fault}" for fault in self.faults]
        lines += [f"  warning  {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.faults:
            return f"{len(self.faults)} fault(s)"
        return "unverified, it has no digests" if self.unverified else "verified"


def verify(path: Any, *, filesystem: Any = None) -> Report:
    """Check every byte of a checkpoint and report every fault.

    Args:
        path: The checkpoint: a local path, a URI, or a Ray Checkpoint.
        filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.

    Returns:
        A report; it never raises for what is wrong with the checkpoint itself.
    """
    store = open_store(path, filesystem)
    report = Report(store.location)
    try:
        _verify_component(report, open_tree(store))
    except NotACheckpointError as error:
        report.unverified = bool(store.list())
        if not report.unverified:
            report.faults.append(_fault(report, error))
    except TuneCkptError as error:
        report.faults.append(_fault(report, error))
    return report


def _fault(report: Report, error: TuneCkptError) -> Fault:
    file, reason = getattr(error, "file", None), getattr(error, "reason", None)
    if file is None or reason is None:
        return Fault("", str(error))
    return Fault(file.removeprefix(report.path).lstrip("/"), reason)


def _verify_component(report: Report, opened: OpenComponent) -> None:
    store, metadata = opened.store, opened.metadata
    for file in metadata.files.values():
        try:
            check_file(store, file, metadata.format)
        except TuneCkptError as error:
            report.faults.append(_fault(report, error))
        report.nbytes += file.nbytes
    for name in metadata.components:
        try:
            _verify_component(report, opened.child(name))
        except TuneCkptError as error:
            report.faults.append(_fault(report, error))
    _note_leftovers(report, store)


def _note_leftovers(report: Report, store: Store) -> None:
    ours = owned_names(store)
    for entry in store.list():
        if entry.name not in ours:
            path = store.path(entry.name).removeprefix(report.path).lstrip("/")
            report.warnings.append(Fault(path, "it does not belong to the checkpoint"))
