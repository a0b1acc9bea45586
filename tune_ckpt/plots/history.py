"""What the pictures of a sweep show: each trial's metric over time, and its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from tune_ckpt.errors import NoCheckpointError, TuneCkptError
from tune_ckpt.sweep.candidate import Candidate
from tune_ckpt.sweep.candidates import OpenSweep
from tune_ckpt.sweep.configs import config_text, telling_keys
from tune_ckpt.sweep.metrics import Metric, number, whole
from tune_ckpt.sweep.opening import open_sweep
from tune_ckpt.sweep.ranking import Ranking
from tune_ckpt.sweep.records import CheckpointRecord
from tune_ckpt.sweep.trial_folder import TrialFolder
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import open_store


@dataclass(frozen=True)
class Mark:
    """One checkpoint.

    Attributes:
        iteration: After which iteration; None where that is not recorded.
        value: Its value of the metric, where it has one.
        path: Where it is; None where it was deleted.
        saved: When it was reported.
        converted: When its conversion was written, where there is one.
        damaged: Whether it was found damaged, or unreadable, on the way to the best.
    """

    iteration: int | None
    value: float | None
    path: str | None
    saved: datetime | None
    converted: datetime | None
    damaged: bool = False


@dataclass(frozen=True)
class Curve:
    """One trial.

    Attributes:
        trial_id: Its id.
        config: What its config says that not all others' say.
        iterations: Of its results.
        values: The metric in each.
        marks: Its checkpoints.
    """

    trial_id: str
    config: str
    iterations: list[int]
    values: list[float]
    marks: list[Mark]

    @property
    def label(self) -> str:
        """What to call it."""
        return f"{self.trial_id}  {self.config}".rstrip()


@dataclass(frozen=True)
class History:
    """A sweep.

    Attributes:
        name: Its folder's name.
        metric: What is shown.
        curves: Its trials, from the best down.
        best: The best checkpoint that is usable, if any.
        damaged: Those that were better, but are damaged or unreadable: one line each.
    """

    name: str
    metric: Metric
    curves: list[Curve]
    best: CheckpointRecord | None
    damaged: tuple[str, ...] = ()

    @property
    def marks(self) -> list[Mark]:
        """All checkpoints."""
        return [mark for curve in self.curves for mark in curve.marks]


def read_history(
    experiment: Any,
    metric: str | None = None,
    mode: str | None = None,
    *,
    verify: bool = True,
    filesystem: Any = None,
) -> History:
    """Read a sweep's results and what checkpoints it has and had.

    Args:
        experiment: The sweep, as for `best_checkpoint`.
        metric: As for `best_checkpoint`.
        mode: As for `best_checkpoint`.
        verify: As for `best_checkpoint`.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the folder is to be looked up.

    Raises:
        UnknownMetricError: No result has such a metric; those there are, are listed.
        NoCheckpointError: There is no trial.
    """
    sweep = open_sweep(experiment, filesystem)
    wanted = sweep.metric(metric, mode)
    ranking = Ranking(sweep, [wanted])
    best, folders = ranking.next(verify=verify), ranking.folders
    if best is None:
        failure = ranking.why.failure(folders)
        if not folders or not isinstance(failure, NoCheckpointError):
            raise failure  # else there are curves all the same
    configs = sweep.configs()
    keys = telling_keys(configs) if len(configs) > 1 else []
    curves = [_curve(ranking, folder, config_text(folder.config, keys)) for folder in folders]
    curves.sort(key=lambda curve: _cost(curve, wanted))
    name = sweep.place.rstrip("/").rpartition("/")[2]
    return History(name, wanted, curves, best, tuple(ranking.why.damaged.values()))


def _curve(ranking: Ranking, folder: TrialFolder, config: str) -> Curve:
    metric = ranking.metrics[0]
    points: dict[int, float] = {}  # after a crash an iteration is reported again
    for place, result in enumerate(folder.results(), 1):
        value = metric.value(result)
        iteration = whole(result.get("training_iteration", place))
        if value is not None and iteration is not None:
            points[iteration] = value
    order = sorted(points)
    marks = [_mark(ranking, candidate) for candidate in ranking.sweep.candidates(folder)]
    marks.sort(key=lambda mark: mark.iteration or 0)
    return Curve(folder.trial_id, config, order, [points[i] for i in order], marks)


def _mark(ranking: Ranking, candidate: Candidate) -> Mark:
    sweep, metric = ranking.sweep, ranking.metrics[0]
    homes = sweep.homes(candidate)
    home = homes[0] if homes else None
    return Mark(
        candidate.iteration,
        metric.value(candidate.metrics),
        home,
        _reported(candidate) or _created(home, sweep),
        _created(sweep.converted(candidate), sweep),
        (candidate.folder.name, candidate.name) in ranking.why.damaged,
    )


def _reported(candidate: Candidate) -> datetime | None:
    seconds = number(candidate.metrics.get("timestamp"))
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None  # a metric of the user's own, such as nanoseconds


def _created(path: str | None, sweep: OpenSweep) -> datetime | None:
    if path is None:
        return None
    try:
        created = open_tree(open_store(path, sweep.filesystem)).metadata.facts.get("created")
        found = datetime.fromisoformat(str(created))
    except (TuneCkptError, ValueError):
        return None  # another library's, which does not tell
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _cost(curve: Curve, metric: Metric) -> float:
    return min(map(metric.cost, curve.values), default=float("inf"))
