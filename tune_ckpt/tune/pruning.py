"""Retention carried out: what a sweep holds, and what of it may go; no storage is touched.

A running sweep has a `tune_ckpt.tune.pruning_live.LivePruner`; of one at rest,
`tune_ckpt.tune.pruning_at_rest` tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tune_ckpt.sweep.metrics import whole
from tune_ckpt.tree.units import human
from tune_ckpt.tune.fates import Fate, Held, age, doomed, fates
from tune_ckpt.tune.pruning_jobs import Measured
from tune_ckpt.tune.retention import Retention


class Pruner:
    """What a sweep holds, and what of it may go.

    Args:
        policy: What is kept.

    Attributes:
        has_news: Whether more may go than at the last look.
    """

    def __init__(self, policy: Retention) -> None:
        self.policy = policy
        self.has_news = False
        self._held: dict[str, Held] = {}
        self._going: dict[str, Held] = {}
        self._count = 0.0

    def add(self, trial: str, path: str, metrics: Mapping[str, Any]) -> None:
        """Note a new checkpoint, or one that was written again."""
        self._count += 1
        self._going.pop(path, None)
        self._hold(trial, path, metrics, self._count)

    def _hold(self, trial: str, path: str, metrics: Mapping[str, Any], order: float) -> None:
        metric = self.policy.ranked_by
        iteration = whole(metrics.get("training_iteration")) or 0
        self.has_news = True
        self._held[path] = Held(
            path=path,
            trial=trial,
            order=order,
            iteration=iteration,
            value=metric.value(metrics) if metric else None,
            is_pinned=self.policy.pins(iteration, metrics),
        )

    def measured(self, size: Measured) -> None:
        """Note a checkpoint's size."""
        if size.path in self._held:
            self._held[size.path] = replace(self._held[size.path], nbytes=size.nbytes)
            self.has_news = True

    def fates(self, live: set[str], in_use: set[str]) -> list[Fate]:
        """Return what would become of each, the most valuable first."""
        return fates(self.policy, self._held.values(), live, in_use)

    def take_doomed(self, live: set[str], in_use: set[str]) -> list[tuple[Held, str | None]]:
        """Return what may go, and forget it.

        Each comes with the newest one of its trial, which must be whole before anything else of
        the trial may go; None where the trial is finished.
        """
        self.has_news = False
        gone = doomed(self.policy, self._held.values(), live, in_use)
        newest: dict[str, Held] = {}
        for one in sorted(self._held.values(), key=age):
            newest[one.trial] = one
        for one in gone:
            self._going[one.path] = self._held.pop(one.path)
        return [(one, newest[one.trial].path if one.trial in live else None) for one in gone]


def excess(policy: Retention, fates: Iterable[Fate]) -> str | None:
    """Return by what a budget is exceeded, where what it does not outweigh takes more."""
    kept = [fate for fate in fates if fate.stays]
    nbytes = sum(fate.held.nbytes or 0 for fate in kept)
    if nbytes <= policy.budget_nbytes:
        return None
    why = ", ".join(f"{role}: {count}" for role, count in Counter(f.roles[0] for f in kept).items())
    return f"the budget of {policy.max_bytes} is exceeded: {human(nbytes)} must stay ({why})"
