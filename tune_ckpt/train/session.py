"""A worker of a Ray Train V2 run: what it saves, alone or together with the others."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Mapping
from typing import Any

import ray.train

from tune_ckpt.errors import InvalidArgumentError, NotACheckpointError
from tune_ckpt.train.board import Board
from tune_ckpt.train.saving import Save
from tune_ckpt.train.shares import WORKERS
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.packing import PackedComponent, pack_tree
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.snapshot import Arena, snapshot
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.private import takes_upload_function, train_run_folder

_MODES = ("SYNC", "ASYNC")


class TrainSession:
    """The worker that this process is: Ray Train starts a new process for each."""

    _current: TrainSession | None = None

    def __init__(self) -> None:
        context = ray.train.get_context()
        self._rank = context.get_world_rank()
        self._name = context.get_experiment_name()
        self._board = Board(self._rank, context.get_world_size())
        self._number = _reports_before(self.checkpoint())
        self._arena = Arena()
        self._last: Save | None = None
        self._notice: Any = None

    @classmethod
    def current(cls) -> TrainSession:
        """Return the one of this process."""
        if cls._current is None:
            cls._current = cls()
        return cls._current

    def checkpoint(self) -> Any:
        """Return the checkpoint to go on from, or None at the first start."""
        return ray.train.get_checkpoint()

    def of_others(self, checkpoint: Any, parts: Mapping[str, Any]) -> list[str]:
        """Return patterns of the components that only other workers saved."""
        known = open_tree(open_store(checkpoint)).metadata.extra.get(WORKERS, {})
        others = [name for name, ranks in known.items() if self._rank not in ranks]
        return [glob.escape(name) for name in others if name not in parts]

    def is_preempted(self, timeout_secs: float) -> bool:
        """Say whether Ray Train has announced a preemption; all workers have to ask equally often.

        Older versions of Ray announce none.
        """
        self._board.timeout_secs = timeout_secs
        self._board.meet(self._number + 1)  # Ray itself would wait for ever
        ask = getattr(ray.train, "get_preemption_info", None)
        before, self._notice = self._notice, ask() if ask else None
        return self._notice not in (None, before)

    def leave(self) -> None:
        """Do nothing: Ray Train starts the workers again when the time has come."""

    def report(
        self,
        metrics: Mapping[str, Any],
        parts: Mapping[str, Any] | None,
        format: Format,
        facts: Mapping[str, Any],
        timeout_secs: float,
        **options: Any,
    ) -> None:
        """Report metrics, and a checkpoint of what the workers give, if they give anything."""
        mode = _mode(options)
        self._board.timeout_secs = timeout_secs
        self._number += 1
        save = Save.agreed(self._board, self._number, parts or {})
        trial = {"id": None, "name": self._name, "iteration": self._number}
        save.component.extra |= {"trial": trial, **facts}
        if save.is_empty:
            kept = {key: options[key] for key in options if key == "checkpoint_dir_name"}
            ray.train.report(dict(metrics), **kept)
            return
        report = _report_uploading if takes_upload_function() else _report_copied
        try:
            save.packed = self._packed(save, format, in_background=mode == "ASYNC")
            report(dict(metrics), save, options)
        except BaseException:
            save.give_up()
            raise

    def _packed(self, save: Save, format: Format, *, in_background: bool) -> PackedComponent:
        if not in_background:
            return pack_tree(save.component, format)
        if self._last is not None:
            # Until then its snapshot is where the next one will be.
            self._last.wait(self._board.timeout_secs)
        packed = snapshot(save.component, format, self._arena)
        self._last = save
        return packed


def _mode(options: Mapping[str, Any]) -> str:
    given = options.get("checkpoint_upload_mode")
    mode = "SYNC" if given is None else getattr(given, "value", None)
    if mode not in _MODES:
        expected = [f"ray.train.CheckpointUploadMode.{one}" for one in _MODES]
        raise InvalidArgumentError("checkpoint_upload_mode", given, expected)
    return str(mode)


def _reports_before(checkpoint: Any) -> int:
    """Return after how many reports of the run a checkpoint was saved, where we saved it."""
    if checkpoint is None:
        return 0
    try:
        trial = open_tree(open_store(checkpoint)).metadata.extra.get("trial")
    except NotACheckpointError:  # saved in another way
        return 0
    return int(trial.get("iteration") or 0) if isinstance(trial, dict) else 0


def _report_uploading(metrics: dict[str, Any], save: Save, options: dict[str, Any]) -> None:
    """Report, and write straight to where Ray Train wants the checkpoint."""
    folder, filesystem = train_run_folder()

    def upload(checkpoint: Any, name: str) -> Any:
        """Write the checkpoint straight to where it is to be."""
        save.write(f"{folder}/{name}", filesystem)
        return ray.train.Checkpoint(f"{folder}/{name}", filesystem)

    ray.train.report(
        metrics,
        checkpoint=ray.train.Checkpoint(folder, filesystem),  # any will do
        checkpoint_upload_fn=upload,
        delete_local_checkpoint_after_upload=False,
        **options,
    )


def _report_copied(metrics: dict[str, Any], save: Save, options: dict[str, Any]) -> None:
    """Report what each worker has written to its own disk; Ray copies it into one folder."""
    options = {key: options[key] for key in options if key != "checkpoint_upload_mode"}
    with tempfile.TemporaryDirectory(prefix="tune_ckpt-") as folder:
        save.write(folder)
        ray.train.report(metrics, ray.train.Checkpoint(folder), **options)
