"""Whatever means a sweep, opened: a path, Ray's results, or a `Sweep` that is kept open."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.candidates import OpenSweep
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.sweep.paths import last_of, parent_of
from tune_ckpt.sweep.private import goal_of
from tune_ckpt.sweep.result_log import Pairs
from tune_ckpt.sweep.trial_folder import TrialFolder
from tune_ckpt.tree.storage.store import open_store

if TYPE_CHECKING:
    from typing_extensions import Self


class Sweep:
    """A sweep's folder, opened once and asked often.

    Whatever takes a sweep takes a `Sweep` too, and reads only what is new since the last time:

        sweep = tune_ckpt.Sweep.open("s3://bucket/sweeps/run1")
        while running():
            print(tune_ckpt.best_checkpoint(sweep, "eval/acc"))
    """

    def __init__(self, opened: OpenSweep) -> None:
        if not isinstance(opened, OpenSweep):
            expected = ("only what tune_ckpt.Sweep.open(...) passes: call that instead",)
            raise InvalidArgumentError("opened", opened, expected)
        self._opened = opened

    @classmethod
    def open(cls, experiment: Any, *, filesystem: Any = None) -> Self:
        """Return the sweep that ``experiment`` means.

        Args:
            experiment: A ``ResultGrid``, ``Result`` or ``ExperimentAnalysis``; or a folder, as a
                path or URI: a sweep's, a single trial's, or that of a Train run.
            filesystem: A ``pyarrow.fs.FileSystem`` in which a folder is to be looked up.

        Raises:
            InvalidArgumentError: It means none.
        """
        return cls(open_sweep(experiment, filesystem))

    @property
    def path(self) -> str:
        """Its folder: a local path or a URI."""
        return self._opened.base

    def __repr__(self) -> str:
        return f"Sweep({self.path!r})"


def open_sweep(experiment: Any, filesystem: Any = None) -> OpenSweep:
    """Return the sweep that ``experiment`` means; see `Sweep.open`.

    Raises:
        InvalidArgumentError: It means none.
    """
    if isinstance(experiment, OpenSweep):
        return experiment
    if isinstance(experiment, Sweep):
        return experiment._opened
    if isinstance(experiment, str | os.PathLike):
        return _of_folder(experiment, filesystem)
    for attributes, opener in _RAYS:
        if all(hasattr(experiment, name) for name in attributes):
            return opener(experiment)
    expected = ("a ResultGrid, Result or ExperimentAnalysis", "a folder as a path or URI")
    raise InvalidArgumentError("experiment", experiment, expected)


def _of_analysis(analysis: Any) -> OpenSweep:
    from ray.tune import ResultGrid  # whoever has an analysis has imported Ray

    return _of_grid(ResultGrid(analysis))


def _of_grid(results: Any) -> OpenSweep:
    sweep = _of_folder(results.experiment_path, results.filesystem)
    goal = goal_of(results)
    sweep.goal = Metric(*goal) if goal else None
    for result in results:
        if result.path is not None:  # else a trial that never started
            sweep.in_memory[last_of(result.path)] = _pairs(result)
    return sweep


def _of_result(result: Any) -> OpenSweep:
    if result.path is None:
        raise InvalidArgumentError("experiment", result, ("a Result of a trial that was started",))
    parent, name = parent_of(result.path)
    store = open_store(parent, result.filesystem)
    given = store.filesystem  # a URI is none of Ray's paths
    return OpenSweep(store, parent, given, {name: _pairs(result)}, only=name)


def _pairs(result: Any) -> Pairs:
    trial, pairs = last_of(result.path), {}
    for checkpoint, metrics in result.best_checkpoints or ():
        if last_of(checkpoint.path, 2) == trial:  # not one that it took over from another trial
            pairs[last_of(checkpoint.path)] = metrics
    return pairs


def _of_folder(source: str | os.PathLike[str], filesystem: Any) -> OpenSweep:
    store = open_store(source, filesystem)
    base = os.fspath(source) if store.filesystem else store.location
    given = store.filesystem if filesystem else None
    folder = TrialFolder("", store, Notes())
    folder.look()
    if not folder.is_trial:
        return OpenSweep(store, base, given)
    parent, name = parent_of(base)  # where Tune's experiment state is
    return OpenSweep(open_store(parent, given), parent, given, only=name)


# Ray's objects, known by what they have: Ray is not imported for it.
_RAYS: list[tuple[tuple[str, ...], Callable[[Any], OpenSweep]]] = [
    (("experiment_path", "trials"), _of_analysis),
    (("experiment_path", "filesystem"), _of_grid),
    (("path", "filesystem", "best_checkpoints"), _of_result),
]
