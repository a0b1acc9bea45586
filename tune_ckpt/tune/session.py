"""A function that Tune runs: where its checkpoints go, and what happens on SIGTERM."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

from ray import tune

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.objects.bundle import Bundle
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.writing import save_tree
from tune_ckpt.tune.private import iteration_to_report, next_checkpoint
from tune_ckpt.tune.sigterm import end, notice


class TuneSession:
    """The trial that this process runs."""

    def checkpoint(self) -> Any:
        """Return the checkpoint to go on from, or None at the first start."""
        return tune.get_checkpoint()

    def of_others(self, checkpoint: Any, parts: Mapping[str, Any]) -> list[str]:
        """Return nothing: a trial is alone."""
        return []

    def is_preempted(self, timeout_secs: float) -> bool:
        """Say whether SIGTERM has come; from the first call on it is waited for."""
        notice.listen_from_elsewhere()
        return notice.came.is_set()

    def report(
        self,
        metrics: Mapping[str, Any],
        parts: Mapping[str, Any] | None,
        format: Format,
        facts: Mapping[str, Any],
        timeout_secs: float,
        **options: Any,
    ) -> None:
        """Report metrics, and a checkpoint of the parts where there are any."""
        of_train = sorted(options.keys() - {"checkpoint_upload_mode"})
        if of_train:
            raise InvalidArgumentError("options", of_train, ("none in a Tune function",))
        if not parts:
            tune.report(dict(metrics))
            return
        component = Bundle(parts).component()
        component.extra = {"trial": _trial(), **facts}
        path, filesystem = next_checkpoint()
        save_tree(component, path, format, filesystem=filesystem)
        # Tune copies what it is given to where the checkpoint is already: nothing more.
        with tempfile.TemporaryDirectory(prefix="tune_ckpt-") as nothing:
            tune.report(dict(metrics), checkpoint=tune.Checkpoint(nothing))

    def leave(self) -> None:
        """End the trial, as SIGTERM demanded; Tune may start it again from its checkpoint."""
        end()


def _trial() -> dict[str, Any]:
    context = tune.get_context()
    name, trial_id = context.get_trial_name(), context.get_trial_id()
    return {"id": trial_id, "name": name, "iteration": iteration_to_report()}
