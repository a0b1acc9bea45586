"""The best checkpoints of a sweep, from its results in memory or from its folder.

Best means the *checkpoint*, over all trials, whose own metrics are best; not the best trial's last
one. See `tune_ckpt.sweep.ranking` for what wins, and `tune_ckpt.sweep.candidates` for whose metrics
are whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from numbers import Integral
from typing import Any

from tune_ckpt.errors import InvalidArgumentError, TuneCkptError
from tune_ckpt.sweep.candidates import OpenSweep
from tune_ckpt.sweep.conditions import Where, check_names, check_where, values_there_are
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.sweep.opening import open_sweep
from tune_ckpt.sweep.ranking import Ranking
from tune_ckpt.sweep.record_table import CheckpointTable
from tune_ckpt.sweep.records import CheckpointRecord
from tune_ckpt.sweep.scopes import Scope


def best_checkpoint(
    experiment: Any,
    metric: str | None = None,
    mode: str | None = None,
    *,
    scope: str | None = None,
    where: Where | None = None,
    verify: bool = True,
    filesystem: Any = None,
) -> CheckpointRecord:
    """Return the checkpoint, over all trials of a sweep, whose own metrics are best.

    >>> best = best_checkpoint("sweep", "eval/acc", "max")
    >>> best.value, best.trial_id, best.iteration, best.config["lr"]
    (0.9, 'aaaaa_00000', 3, 0.1)
    >>> best.load("model/head")
    {'w': array([ 3., -3.], dtype=float32)}

    Args:
        experiment: The sweep: a ``ResultGrid``, ``Result`` or ``ExperimentAnalysis``; or its folder
            as a path or URI, also while it runs, after it was killed, and wherever it was moved; or
            a single trial's folder, or a Train run's. Ray need not be installed for a folder, and
            nothing in it is unpickled. A `Sweep` is read only where it has changed since.
        metric: The metric's name, ``a/b`` for nested ones; by default as the results'
            ``TuneConfig`` says. A folder does not tell.
        mode: ``"max"`` or ``"min"``; by default as the ``TuneConfig`` says of this metric, else
            ``"max"``.
        scope: See `rank_checkpoints`.
        where: See `rank_checkpoints`.
        verify: Check every byte of the checkpoint that is returned.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the folder is to be looked up.

    Raises:
        UnknownMetricError: No result has such a metric; those there are, are listed.
        AmbiguousMetricError: The name fits two places in a result.
        NoCheckpointError: No checkpoint has a value and is usable; why is told for each.
        InvalidArgumentError: There is no such mode or scope, no metric is told, or ``experiment``
            is no sweep.
    """
    ranked = rank_checkpoints(
        experiment,
        metric,
        mode,
        k=1,
        scope=scope,
        where=where,
        verify=verify,
        filesystem=filesystem,
    )
    return ranked[0]


def rank_checkpoints(
    experiment: Any,
    metric: str | None = None,
    mode: str | None = None,
    *,
    metrics: Mapping[str, str] | None = None,
    k: int | None = None,
    per_trial: int | None = None,
    scope: str | None = None,
    where: Where | None = None,
    verify: bool = True,
    filesystem: Any = None,
) -> CheckpointTable:
    """Return the checkpoints of a sweep, over all trials, from the best down.

    >>> [record.value for record in rank_checkpoints("sweep", "eval/acc", k=3)]
    [0.9, 0.8, 0.7]
    >>> [record.value for record in rank_checkpoints("sweep", "eval/acc", where={"lr": 0.2})]
    [0.8, 0.6]

    Args:
        experiment: The sweep, as for `best_checkpoint`.
        metric: See `best_checkpoint`.
        mode: See `best_checkpoint`.
        metrics: Several metrics instead, each with its mode. Then the Pareto front is returned,
            in the order of the first: what no other equals in all of them and beats in one.
        k: How many; by default all that are usable.
        per_trial: How many of one trial at most.
        scope: By default each checkpoint stands for itself. With ``"last"``, ``"avg"``,
            ``"last-5-avg"``, ``"last-10-avg"`` or ``"all"`` trials are compared by those of their
            values, as in Tune, and each one's checkpoints follow: where the value speaks of the
            trial's end, the newest first, else the best first.
        where: Which checkpoints count: a function of the record, or values that the config must
            have, by name, ``a/b`` for nested ones.
        verify: Check every byte of those that are returned.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the folder is to be looked up.

    Returns:
        A sequence of at least one record, which prints as a table; each one's ``runner_up`` is the
        next.

    Raises:
        UnknownMetricError: No result has such a metric; those there are, are listed.
        AmbiguousMetricError: The name fits two places in a result.
        NoCheckpointError: No checkpoint has a value and is usable; why is told for each.
        InvalidArgumentError: There is no such mode or scope, ``k`` or ``per_trial`` is not
            positive, both or none of ``metric`` and ``metrics`` are told, ``where`` is neither a
            function nor a dict or asks for what a record has not, or ``experiment`` is no sweep.
    """
    for name, number in (("k", k), ("per_trial", per_trial)):
        if number is not None and (not isinstance(number, Integral) or number < 1):
            raise InvalidArgumentError(name, number, ("a positive whole number", None))
    check_where(where)
    sweep = open_sweep(experiment, filesystem)
    wanted = _metrics(sweep, metric, mode, metrics)
    if scope is not None and len(wanted) > 1:
        raise InvalidArgumentError("scope", scope, ("None where there are several metrics",))
    ranking = Ranking(sweep, wanted, Scope.named(scope), per_trial, where)
    found = list(islice(iter(lambda: ranking.next(verify=verify), None), k))
    if not found:
        raise _nothing(ranking, where)
    records = _linked(found, ranking.next(verify=False))
    title = ", ".join(f"{metric.name} ({metric.mode})" for metric in wanted)
    return CheckpointTable(records, f"{title} in {sweep.place}", ranking.why.lines())


def _metrics(
    sweep: OpenSweep, metric: str | None, mode: str | None, metrics: Mapping[str, str] | None
) -> Sequence[Metric]:
    if metrics is None:
        return [sweep.metric(metric, mode)]
    if metric is not None:
        raise InvalidArgumentError("metric", metric, ("None with metrics={name: mode, ...}",))
    if not isinstance(metrics, Mapping) or not metrics:
        raise InvalidArgumentError("metrics", metrics, ("a dict of names and modes",))
    return [Metric(name, of) for name, of in metrics.items()]


def _nothing(ranking: Ranking, where: Where | None) -> TuneCkptError:
    """Return the error that tells why no checkpoint is left."""
    check_names(where, ranking.sweep.configs())
    opened = [one for _, found in ranking.why.opened for one in found]
    told = values_there_are(where, [ranking.sweep.config(one) for one in opened])
    return ranking.why.failure(ranking.folders, told)


def _linked(
    records: Sequence[CheckpointRecord], following: CheckpointRecord | None
) -> list[CheckpointRecord]:
    """Return records, each with the next as its runner-up."""
    linked = []
    for record in reversed(records):
        following = replace(record, runner_up=following)
        linked.append(following)
    return linked[::-1]
