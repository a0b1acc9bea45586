"""Portable, whole and exact checkpoints for Ray Tune and Ray Train.

===============================================  ===================================================
`best_checkpoint`, `rank_checkpoints`            the best of a sweep, by its results, folder or URI
`CheckpointableTrainable`                        a Trainable whose checkpoints are component trees
`report`, `restore`                              the same in a training function
`save`, `restore`, `save_state`, `load_state`    checkpoints anywhere else
`CheckpointCallback`, `Retention`                while a sweep runs
`resume`                                         after it was killed
`describe`, `diff`, `verify`, `scan`             what is in a checkpoint, and whether it is whole
`convert_checkpoint`, `archive`                  the same in another form
`rllib`                                          RLlib's checkpoints of every version
`errors`                                         every error that is raised on purpose
===============================================  ===================================================

Public names are resolved when they are first used: ``import tune_ckpt`` alone loads neither Ray nor
torch, so a checkpoint can be read where neither is installed.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from tune_ckpt.version import __version__

if TYPE_CHECKING:
    from tune_ckpt.checkpointable import Checkpointable
    from tune_ckpt.convert import convert_checkpoint, convert_to_msgpack_checkpoint
    from tune_ckpt.errors import RestoreReport, RestoreWarning, TuneCkptError
    from tune_ckpt.experiment import best_checkpoint, rank_checkpoints
    from tune_ckpt.formats.msgpack import check
    from tune_ckpt.formats.references import Reference
    from tune_ckpt.objects.actors import ActorGroup
    from tune_ckpt.objects.adapters.registry import register_adapter
    from tune_ckpt.objects.background import PendingSave
    from tune_ckpt.objects.functions import restore_object, save, save_async
    from tune_ckpt.objects.renaming import register_renamed
    from tune_ckpt.objects.states import load_state, save_state
    from tune_ckpt.plots.curves import plot
    from tune_ckpt.reporting import report, restore
    from tune_ckpt.rllib.reading.info import get_checkpoint_info
    from tune_ckpt.rng import RngState
    from tune_ckpt.sweep.averaging import average_checkpoints
    from tune_ckpt.sweep.opening import Sweep
    from tune_ckpt.sweep.pinned import pinned_checkpoint
    from tune_ckpt.sweep.record_table import CheckpointTable
    from tune_ckpt.sweep.records import CheckpointRecord
    from tune_ckpt.train.callback import TrainCheckpointCallback
    from tune_ckpt.train.uploading import upload_as_msgpack
    from tune_ckpt.tree.archive import archive, extract
    from tune_ckpt.tree.inspection.describe import describe
    from tune_ckpt.tree.inspection.diff import diff
    from tune_ckpt.tree.inspection.scan import scan
    from tune_ckpt.tree.inspection.verify import verify
    from tune_ckpt.tree.removing import clean, delete_checkpoint
    from tune_ckpt.tree.writing import Saved
    from tune_ckpt.tune.callback import CheckpointCallback
    from tune_ckpt.tune.environment import EnvironmentCallback
    from tune_ckpt.tune.resume import ResumedTuner, resume
    from tune_ckpt.tune.resuming.report import ResumeReport
    from tune_ckpt.tune.retention import Retention
    from tune_ckpt.tune.trainable import (
        AlgorithmMixin,
        CheckpointableMixin,
        CheckpointableTrainable,
    )

_HOMES = {
    "checkpointable": ["Checkpointable"],
    "convert": ["convert_checkpoint", "convert_to_msgpack_checkpoint"],
    "errors": ["RestoreReport", "RestoreWarning", "TuneCkptError"],
    "experiment": ["best_checkpoint", "rank_checkpoints"],
    "formats.msgpack": ["check"],
    "formats.references": ["Reference"],
    "objects.actors": ["ActorGroup"],
    "objects.adapters.registry": ["register_adapter"],
    "objects.background": ["PendingSave"],
    "objects.functions": ["restore_object", "save", "save_async"],
    "objects.renaming": ["register_renamed"],
    "objects.states": ["load_state", "save_state"],
    "plots.curves": ["plot"],
    "reporting": ["report", "restore"],
    "rllib.reading.info": ["get_checkpoint_info"],
    "rng": ["RngState"],
    "sweep.averaging": ["average_checkpoints"],
    "sweep.opening": ["Sweep"],
    "sweep.pinned": ["pinned_checkpoint"],
    "sweep.record_table": ["CheckpointTable"],
    "sweep.records": ["CheckpointRecord"],
    "train.callback": ["TrainCheckpointCallback"],
    "train.uploading": ["upload_as_msgpack"],
    "tree.archive": ["archive", "extract"],
    "tree.inspection.describe": ["describe"],
    "tree.inspection.diff": ["diff"],
    "tree.inspection.scan": ["scan"],
    "tree.inspection.verify": ["verify"],
    "tree.removing": ["clean", "delete_checkpoint"],
    "tree.writing": ["Saved"],
    "tune.callback": ["CheckpointCallback"],
    "tune.environment": ["EnvironmentCallback"],
    "tune.resume": ["ResumedTuner", "resume"],
    "tune.resuming.report": ["ResumeReport"],
    "tune.retention": ["Retention"],
    "tune.trainable": ["AlgorithmMixin", "CheckpointableMixin", "CheckpointableTrainable"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("errors", "rllib")  # public ones

__all__ = [
    "ActorGroup",
    "AlgorithmMixin",
    "CheckpointCallback",
    "CheckpointRecord",
    "CheckpointTable",
    "Checkpointable",
    "CheckpointableMixin",
    "CheckpointableTrainable",
    "EnvironmentCallback",
    "PendingSave",
    "Reference",
    "RestoreReport",
    "RestoreWarning",
    "ResumeReport",
    "ResumedTuner",
    "Retention",
    "RngState",
    "Saved",
    "Sweep",
    "TrainCheckpointCallback",
    "TuneCkptError",
    "__version__",
    "archive",
    "average_checkpoints",
    "best_checkpoint",
    "check",
    "clean",
    "convert_checkpoint",
    "convert_to_msgpack_checkpoint",
    "delete_checkpoint",
    "describe",
    "diff",
    "extract",
    "get_checkpoint_info",
    "load_state",
    "pinned_checkpoint",
    "plot",
    "rank_checkpoints",
    "register_adapter",
    "register_renamed",
    "report",
    "restore",
    "restore_object",
    "resume",
    "save",
    "save_async",
    "save_state",
    "scan",
    "upload_as_msgpack",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME_OF:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])
    try:
        home = importlib.import_module(f"{__name__}.{_HOME_OF[name]}")
    except ModuleNotFoundError as error:
        raise _missing(error, name) from error
    value = globals()[name] = getattr(home, name)
    return value


def _missing(error: ModuleNotFoundError, wanted: str) -> Exception:
    """Return the error of ours for a package that is not installed."""
    from tune_ckpt.errors import MissingDependencyError

    package = (error.name or "").partition(".")[0]
    if package in ("", __name__):
        return error
    package = "ray[tune]" if package == "ray" else package
    return MissingDependencyError(package, f"{__name__}.{wanted}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES]
