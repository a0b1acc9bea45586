"""What a training function runs in: a trial of Tune's, or a worker of Ray Train's.

Both are in files of this name, `tune_ckpt.tune.session` and `tune_ckpt.train.session`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from tune_ckpt.errors import NoSessionError
from tune_ckpt.tree.layout import Format


class Session(Protocol):
    """What a training function runs in."""

    def checkpoint(self) -> Any:
        """Return the checkpoint to go on from, or None at the first start."""

    def of_others(self, checkpoint: Any, parts: Mapping[str, Any]) -> list[str]:
        """Return patterns of the components that are other workers' to restore."""

    def is_preempted(self, timeout_secs: float) -> bool:
        """Say whether the end of this process was announced since this was last asked.

        Args:
            timeout_secs: How long to wait for other workers, which have to ask equally often.
        """

    def report(
        self,
        metrics: Mapping[str, Any],
        parts: Mapping[str, Any] | None,
        format: Format,
        facts: Mapping[str, Any],
        timeout_secs: float,
        **options: Any,
    ) -> None:
        """Report metrics, and a checkpoint of the parts where there are any, with such metadata."""

    def leave(self) -> None:
        """Let what was announced happen: a checkpoint has been reported."""


def current_session(wanted: str) -> Session:
    """Return what the calling function runs in.

    Args:
        wanted: What for, for the message.

    Raises:
        NoSessionError: It is no training function.
    """
    if "ray" not in sys.modules:  # whoever runs in Ray has imported it
        raise NoSessionError(wanted)
    from tune_ckpt.tune.private import in_train_worker, in_tune_function

    if in_train_worker():
        from tune_ckpt.train.session import TrainSession

        return TrainSession.current()
    if in_tune_function():
        from tune_ckpt.tune.session import TuneSession

        return TuneSession()
    raise NoSessionError(wanted)
