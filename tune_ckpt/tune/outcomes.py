"""What became of a sweep's checkpoints: one `Outcome` each, and the summary of them all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.tree.units import human

REPORT = "tune_ckpt_report.json"  # in the folder of a sweep or Train run
Action = Literal["convert", "verify", "pin", "delete", "measure", "hook"]
Status = Literal["done", "up to date", "skipped", "failed"]
_DONE = {"convert": "converted", "verify": "verified", "pin": "pinned", "delete": "deleted"}
TIMEOUT = "timeout"  # the cause of what was given up
_SHOWN_CAUSES = 5


@dataclass(frozen=True)
class Outcome:
    """What became of one checkpoint.

    Attributes:
        checkpoint: The original's path; empty where it is about no single one.
        action: What was to be done.
        status: What came of it.
        detail: Why, where it was skipped or failed; else the new path.
        cause: The error's class, where it failed; `TIMEOUT` where there was no time left for it.
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
        done = _DONE.get(self.action, self.action)
        what = done if self.status == "done" else f"{self.action} {self.status}"
        return ": ".join(part for part in (self.checkpoint, what, self.detail) if part)


def failed(checkpoint: str, action: Action, error: BaseException) -> Outcome:
    """Return the outcome of an error; a foreign one is told with its class."""
    detail = str(error) if isinstance(error, TuneCkptError) else repr(error)
    return Outcome(checkpoint, action, "failed", detail, type(error).__name__)


def given_up(what: str) -> Outcome:
    """Return the outcome of work for which no time was left."""
    return Outcome("", "hook", "failed", f"{what} in time (drain_timeout_secs)", TIMEOUT)


@dataclass(frozen=True)
class Summary:
    """All outcomes of a sweep at a glance.

    Attributes:
        counts: How often an action ended how, such as ``"convert: done"``.
        causes: How many failures each kind of error caused.
        nbytes: The size of the originals that were converted.
        new_nbytes: The size of their conversions.
        seconds: How long all the work took, added up; it ran beside the sweep.
        skipped: How many checkpoints were skipped, by what was not done and why:
            ``"converted: it is msgpack already"``.
    """

    counts: dict[str, int]
    causes: dict[str, int]
    nbytes: int
    new_nbytes: int
    seconds: float
    skipped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Summary:
        """Return the summary of outcomes."""
        outcomes = _each_skipped_once(outcomes)
        converted = [o for o in outcomes if (o.action, o.status) == ("convert", "done")]
        return cls(
            dict(Counter(f"{o.action}: {o.status}" for o in outcomes)),
            dict(Counter(o.cause for o in outcomes if o.status == "failed").most_common()),
            sum(o.nbytes for o in converted),
            sum(o.new_nbytes for o in converted),
            sum(o.seconds for o in outcomes),
            dict(Counter(_why_skipped(o) for o in outcomes if o.status == "skipped").most_common()),
        )

    def __str__(self) -> str:
        counts = ", ".join(f"{word} {count}" for word, count in self.counts.items())
        lines = [f"tune_ckpt: {counts or 'nothing was to be done'}"]
        if self.nbytes:
            sizes = f"{human(self.nbytes)} became {human(self.new_nbytes)}"
            lines.append(f"  {sizes} of msgpack, in {self.seconds:.1f} s beside the sweep")
        lines += _listed("failed by", self.causes) + _listed("not", self.skipped)
        return "\n".join(lines)


def _listed(what: str, reasons: dict[str, int]) -> list[str]:
    lines = [f"  {what} {reason}: {count}" for reason, count in reasons.items()]
    more = len(lines) - _SHOWN_CAUSES
    return [*lines[:_SHOWN_CAUSES], *([f"  and {more} more reasons"] if more > 0 else ())]


def _each_skipped_once(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes, without what was skipped again for the same reason at the end."""
    seen = set[tuple[str, str, str]]()
    told = []
    for outcome in outcomes:
        key = outcome.checkpoint, outcome.action, outcome.detail
        if outcome.status != "skipped" or key not in seen:
            told.append(outcome)
        seen.add(key)
    return told


def _why_skipped(outcome: Outcome) -> str:
    reason, _, _ = outcome.detail.partition("\n")
    return f"{_DONE.get(outcome.action, 'done')}: {reason.rstrip('.:')}"


def report_json(outcomes: Sequence[Outcome]) -> bytes:
    """Return the report that is written into the sweep's folder."""
    outcomes = _each_skipped_once(outcomes)
    report: dict[str, Any] = {
        "summary": asdict(Summary.of(outcomes)),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    return json.dumps(report, indent=2).encode()
