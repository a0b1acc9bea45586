"""What became of a sweep's checkpoints: one `Outcome` each, and the summary of them all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.tree.units import human

REPORT = "tune_ckpt_report.json"  # in the folder of a sweep or Train run
Action = Literal["convert", "verify", "pin", "delete", "measure", "hook"]
Status = Literal["done", "up to date", "skipped", "failed"]
_DONE = {"convert": "converted", "verify": "verified", "pin": "pinned", "delete": "deleted"}
_SHOWN_CAUSES = 5


@dataclass(frozen=True)
class Outcome:
    """What became of one checkpoint.

    Attributes:
        checkpoint: The original's path; empty where it is about no single one.
        action: What was to be done.
        status: What came of it.
        detail: Why, where it was skipped or failed; else the new path.
        cause: The error's class, where it failed.
        seconds: How long it took.
        nbytes: The size of the original, as far as it was looked at.
        new_nbytes: The size of what was written.
    """

    checkpoint: str
    action: Action
    status: Status
    detail: str = ""
    cause: str = ""
    seconds: float = 0.0
    nbytes: int = 0
    new_nbytes: int = 0

    def __str__(self) -> str:
        word = _DONE.get(self.action, "done") if self.status == "done" else self.status
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.checkpoint or self.action}: {word}{detail}"


def failed(checkpoint: str, action: Action, error: BaseException | str) -> Outcome:
    """Return the outcome of an error; a foreign one is told with its class."""
    if isinstance(error, str):
        return Outcome(checkpoint, action, "failed", error, "lost")
    detail = str(error) if isinstance(error, TuneCkptError) else repr(error)
    return Outcome(checkpoint, action, "failed", detail, type(error).__name__)


@dataclass(frozen=True)
class Summary:
    """All outcomes of a sweep at a glance.

    Attributes:
        counts: How often an action ended how, such as ``"convert: done"``.
        causes: How many failures each kind of error caused.
        nbytes: The size of the originals that were converted.
        new_nbytes: The size of their conversions.
        seconds: How long all the work took, added up; it ran beside the sweep.
    """

    counts: dict[str, int]
    causes: dict[str, int]
    nbytes: int
    new_nbytes: int
    seconds: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Summary:
        """Return the summary of outcomes."""
        converted = [o for o in outcomes if (o.action, o.status) == ("convert", "done")]
        return cls(
            dict(Counter(f"{o.action}: {o.status}" for o in outcomes)),
            dict(Counter(o.cause for o in outcomes if o.status == "failed").most_common()),
            sum(o.nbytes for o in converted),
            sum(o.new_nbytes for o in converted),
            sum(o.seconds for o in outcomes),
        )

    def __str__(self) -> str:
        counts = ", ".join(f"{word} {count}" for word, count in self.counts.items())
        lines = [f"tune_ckpt: {counts or 'nothing was to be done'}"]
        if self.nbytes:
            sizes = f"{human(self.nbytes)} became {human(self.new_nbytes)}"
            lines.append(f"  {sizes} of msgpack, in {self.seconds:.1f} s beside the sweep")
        causes = list(self.causes.items())
        lines += [f"  failed by {cause}: {count}" for cause, count in causes[:_SHOWN_CAUSES]]
        if len(causes) > _SHOWN_CAUSES:
            lines.append(f"  and by {len(causes) - _SHOWN_CAUSES} other causes")
        return "\n".join(lines)


def report_json(outcomes: Sequence[Outcome]) -> bytes:
    """Return the report that is written into the sweep's folder."""
    report: dict[str, Any] = {
        "summary": asdict(Summary.of(outcomes)),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    return json.dumps(report, indent=2).encode()
