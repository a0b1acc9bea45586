"""A sweep's folder or `ResultGrid` to records of its checkpoints, and the best of them.

Best means the *checkpoint*, over all trials, whose own metrics are best; not the best trial's last
one. See `tune_ckpt.ranking` for what wins, and `tune_ckpt.sweep` for whose metrics are whose.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from tune_ckpt.configs import config_text
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.metrics import Metric
from tune_ckpt.ranking import Place, Ranking
from tune_ckpt.sweep import Sweep
from tune_ckpt.tree.notebook import as_html

if TYPE_CHECKING:
    from ray.tune import Checkpoint


@dataclass(frozen=True, eq=False)
class CheckpointRecord:
    """One checkpoint of a sweep with what is known of it.

    Attributes:
        path: Where it is: a local path, a URI, or a path within ``filesystem``.
        trial_id: The trial that wrote it.
        iteration: After which iteration; None where that is not recorded.
        config: The trial's config, at that iteration where it is recorded.
        metrics: Its own metrics: those of the result to which it belongs.
        metric: What it was ranked by.
        mode: ``"max"`` or ``"min"``.
        value: Its value of the metric.
        runner_up: The next best checkpoint; it exists, but was not verified.
        passed_over: What was not considered, or was better but is not usable: one line each.
        converted: The path of its msgpack conversion beside it, where there is one.
        filesystem: The ``pyarrow.fs.FileSystem`` of ``path``; None for local paths and URIs.
    """

    path: str
    trial_id: str
    iteration: int | None
    config: dict[str, Any] = field(repr=False)
    metrics: dict[str, Any] = field(repr=False)
    metric: str
    mode: str
    value: float
    runner_up: CheckpointRecord | None = field(default=None, repr=False)
    passed_over: tuple[str, ...] = field(default=(), repr=False)
    converted: str | None = None
    filesystem: Any = field(default=None, repr=False)

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as a ``ray.tune.Checkpoint``."""
        from ray.tune import Checkpoint

        return Checkpoint(self.path, self.filesystem)

    def _repr_html_(self) -> str:
        runner_up = self.runner_up and f"{self.runner_up.value!r}, {self.runner_up.path}"
        facts = {
            "checkpoint": self.path,
            "trial": self.trial_id,
            "iteration": self.iteration,
            "config": config_text(self.config, [*self.config]),
            "converted": self.converted,
            "runner-up": runner_up,
        }
        known = ((name, value) for name, value in facts.items() if value not in (None, ""))
        return as_html(f"{self.metric} {self.value!r}", known)

    def restore(self, cls: Any = None, *, allow_pickle: bool = False, **kwargs: Any) -> Any:
        """Return the object that was saved, such as the Trainable.

        Args:
            cls: Its class; by default the stored one, which must be imported already.
            allow_pickle: Let pickles import and call what they name. Only for sweeps whose writer
                you trust.
            kwargs: As for `tune_ckpt.restore_object`: ``trusted``, ``strict``, ...

        Raises:
            ClassNotFoundError: The stored class is not imported.
            UntrustedPickleError: A pickle names more than harmless things.
        """
        from tune_ckpt.objects import restore_object

        return restore_object(self, cls, allow_pickle=allow_pickle, **kwargs)

    def load(self, component: str | None = None, *, allow_pickle: bool = False) -> Any:
        """Return the state as plain dicts; no class is imported.

        Args:
            component: Only this subcomponent, ``/`` between levels.
            allow_pickle: Let pickles import and call what they name. Only for sweeps whose writer
                you trust.

        Raises:
            ComponentNotFoundError: There is no such component.
            UntrustedPickleError: A pickle names more than harmless things.
        """
        from tune_ckpt.states import load_state

        return load_state(self, component, allow_pickle=allow_pickle)

    def export(self, directory: str | os.PathLike[str], *, allow_pickle: bool = False) -> str:
        """Write a verified copy, all of it msgpack, and return its path.

        Args:
            directory: The copy's path or URI.
            allow_pickle: Let pickles import and call what they name. Only for sweeps whose writer
                you trust.

        Raises:
            UnsupportedStateError: msgpack cannot bring back some values; all are listed.
            UntrustedPickleError: A pickle names more than harmless things.
        """
        from tune_ckpt.convert import convert_to_msgpack_checkpoint

        return convert_to_msgpack_checkpoint(self, directory, allow_pickle=allow_pickle)


def best_checkpoint(
    source: Any, metric: str, mode: str = "max", *, verify: bool = True, filesystem: Any = None
) -> CheckpointRecord:
    """Return the checkpoint, over all trials of a sweep, whose own metrics are best.

    Args:
        source: The sweep: a ``ResultGrid``, or its folder as a path or URI, also while it runs,
            after it was killed, and wherever it was moved. Ray need not be installed for a folder,
            and nothing in it is unpickled.
        metric: The metric's name, ``a/b`` for nested ones.
        mode: ``"max"`` or ``"min"``.
        verify: Check every byte of the checkpoint that is returned.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the folder is to be looked up.

    Raises:
        UnknownMetricError: No result has such a metric; those there are, are listed.
        AmbiguousMetricError: The name fits two places in a result.
        NoCheckpointError: No checkpoint has a value and is usable; why is told for each.
        InvalidArgumentError: There is no such mode, or ``source`` is no sweep.
    """
    return rank_checkpoints(source, metric, mode, k=1, verify=verify, filesystem=filesystem)[0]


def rank_checkpoints(
    source: Any,
    metric: str,
    mode: str = "max",
    *,
    k: int | None = None,
    verify: bool = True,
    filesystem: Any = None,
) -> list[CheckpointRecord]:
    """Return the checkpoints of a sweep, over all trials, from the best down.

    Args:
        source: The sweep, as for `best_checkpoint`.
        metric: The metric's name, ``a/b`` for nested ones.
        mode: ``"max"`` or ``"min"``.
        k: How many; by default all that are usable.
        verify: Check every byte of those that are returned.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the folder is to be looked up.

    Returns:
        At least one record; each one's ``runner_up`` is the next.

    Raises:
        UnknownMetricError: No result has such a metric; those there are, are listed.
        AmbiguousMetricError: The name fits two places in a result.
        NoCheckpointError: No checkpoint has a value and is usable; why is told for each.
        InvalidArgumentError: There is no such mode, ``k`` is not positive, or ``source`` is no
            sweep.
    """
    if k is not None and k < 1:
        raise InvalidArgumentError("k", k, ("a positive number", None))
    sweep = Sweep.open(source, filesystem)
    ranking = Ranking(sweep, Metric(metric, mode))
    found = list(islice(iter(lambda: ranking.next(verify=verify), None), k))
    if not found:
        raise ranking.failure()
    places = [*found, ranking.next(verify=False)]
    records = [_record(sweep, ranking.metric, place) for place in places if place is not None]
    following = [*records[1:], None]
    linked = [
        replace(first, runner_up=second) for first, second in zip(records, following, strict=True)
    ]
    return linked[: len(found)]


def _record(sweep: Sweep, metric: Metric, place: Place) -> CheckpointRecord:
    candidate = place.candidate
    return CheckpointRecord(
        path=place.path,
        trial_id=candidate.trial_id,
        iteration=candidate.iteration,
        config=sweep.config(candidate),
        metrics=dict(candidate.metrics),
        metric=metric.name,
        mode=metric.mode,
        value=place.value,
        passed_over=place.passed_over,
        converted=sweep.converted(candidate),
        filesystem=sweep.filesystem,
    )
