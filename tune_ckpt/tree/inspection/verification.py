"""The report of `tune_ckpt.tree.inspection.verify`: what is wrong with a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tune_ckpt.errors import CorruptCheckpointError, Fault
from tune_ckpt.tree.notebook import as_html


@dataclass
class Report:
    """What `verify` found.

    Attributes:
        path: The checkpoint.
        faults: Everything that is wrong, each with its file, sorted by it.
        warnings: What is odd but harmless, such as a leftover file.
        unverified: Whether there are parts without digests to check: another library wrote them.
            Of RLlib's own checkpoints it was checked that the files are there and can be parsed
            to their end; altered contents cannot be noticed.
        nbytes: How many bytes were read and checked, the metadata apart.
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

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values that JSON can express."""
        return {**asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        lines = [f"{self.path}: {self._verdict()}"]
        lines += [f"  fault    {fault}" for fault in self.faults]
        lines += [f"  warning  {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [("fault", fault) for fault in self.faults]
        return as_html(
            f"{self.path}: {self._verdict()}", [*rows, *(("warning", w) for w in self.warnings)]
        )

    def _verdict(self) -> str:
        if self.faults:
            return f"{len(self.faults)} fault(s)"
        if not self.unverified:
            return "verified"
        if not self.nbytes:
            return "unverified: neither tune_ckpt nor RLlib wrote it, so nothing was checked"
        return "unverified, it has no digests; its files can be parsed"
