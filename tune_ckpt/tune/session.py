"""A function that Tune runs: where its checkpoints go, and what happens on SIGTERM."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

from tune_ckpt.bundle import Bundle
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.writing import save_tree
from tune_ckpt.tune.private import iteration_to_report, next_checkpoint
from tune_ckpt.tune.trainable import plain_metrics


class TuneSession:
    """The trial that this process runs."""

    def checkpoint(self) -> Any:
        """Return the checkpoint to go on from, or None at the first start."""
        return tune.get_checkpoint()

    def of_others(self, checkpoint: Any, parts: Mapping[str, Any]) -> list[str]:
        """Return nothing: a trial is alone."""
        return []

    def is_preempted(self) -> bool:
        """Say whether SIGTERM has come; from the first call on it is waited for."""
        return _notice.has_come()

    def report(
        self,
        metrics: Mapping[str, Any],
        parts: Mapping[str, Any] | None,
        format: Format,
        **options: Any,
    ) -> None:
        """Report metrics, and a checkpoint of the parts where there are any."""
        if options.keys() - {"checkpoint_upload_mode"}:
            raise InvalidArgumentError("options", sorted(options), ("none in a Tune function",))
        if not parts:
            tune.report(dict(metrics))
            return
        component = Bundle(parts).component()
        component.extra = {"trial": _trial(), "metrics": plain_metrics(dict(metrics))}
        path, filesystem = next_checkpoint()
        save_tree(component, path, format, filesystem=filesystem)
        # Tune copies what it is given to where the checkpoint is already: nothing more.
        with tempfile.TemporaryDirectory(prefix="tune_ckpt-") as nothing:
            tune.report(dict(metrics), checkpoint=tune.Checkpoint(nothing))

    def leave(self) -> None:
        """End the trial, as SIGTERM demanded; Tune may start it again from its checkpoint."""
        os.kill(os.getpid(), signal.SIGTERM)  # the second one goes to Ray's own handler,
        threading.Event().wait()  # which ends the process; no step is to be done meanwhile


def _trial() -> dict[str, Any]:
    context = tune.get_context()
    name, trial_id = context.get_trial_name(), context.get_trial_id()
    return {"id": trial_id, "name": name, "iteration": iteration_to_report()}


class _Notice:
    """Whether this process got SIGTERM, which the first time does nothing else.

    A signal's handler can be set, and is called, in the main thread alone. There Ray runs an
    actor's methods; the training function has another thread.
    """

    def __init__(self) -> None:
        self._asked = False
        self._came = threading.Event()

    def has_come(self) -> bool:
        """Say whether SIGTERM has come."""
        if not self._asked:
            self._asked = True
            actor = ray.get_runtime_context().current_actor
            actor.__ray_call__.remote(_listen)  # after the method that is running
        return self._came.is_set()

    def listen(self) -> None:
        """Set the handler; in the main thread."""
        before = signal.getsignal(signal.SIGTERM)

        def handle(number: int, frame: Any) -> None:
            self._came.set()
            signal.signal(signal.SIGTERM, before)

        signal.signal(signal.SIGTERM, handle)


_notice = _Notice()


def _listen(trainable: Any) -> None:
    _notice.listen()
