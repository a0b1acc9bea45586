"""What `tune_ckpt.resume` tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from tune_ckpt.errors import Fault
from tune_ckpt.tune.resuming.continuing import Continuation


@dataclass
class ResumeReport:
    """What `resume` found and did.

    Attributes:
        path: The sweep's folder.
        trials: What becomes of each trial.
        set_aside: What was damaged: each with its new path (in a folder ``set_aside`` beside where
            it was) and what is wrong with it.
        notes: What else is good to know: how the scheduler and the searcher go on.
    """

    path: str
    trials: list[Continuation] = field(default_factory=list)
    set_aside: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"Resuming {self.path}:", *(f"  {trial}" for trial in self.trials)]
        lines += [f"  set aside: {fault}" for fault in self.set_aside]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])
