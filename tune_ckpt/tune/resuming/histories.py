"""What a resumed sweep's scheduler and searcher are told of its trials: results up to now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.utils import flatten_dict

from tune_ckpt.tune import private
from tune_ckpt.tune.resuming.past import Metrics, PastTrial


@dataclass(frozen=True)
class History:
    """What is told of a trial.

    Attributes:
        trial: Ray's Trial.
        results: Its flat results, up to where it goes on.
    """

    trial: Any
    results: list[Metrics]


def histories_of(trials: list[Any], pasts: Mapping[str, PastTrial]) -> list[History]:
    """Return the trials' histories, in the order in which the trials were made.

    Args:
        trials: The trials, as they go on.
        pasts: Their folders, by name.
    """
    # As in Tune, what a scheduler notes in a result (BOHB's: its budget), the searcher finds there.
    found = [
        History(trial, [*map(flatten_dict, _results(trial, pasts[str(trial.relative_logdir)]))])
        for trial in trials
    ]
    return sorted(found, key=lambda history: _number(history.trial))


def _number(trial: Any) -> tuple[int, str]:
    """Return which trial of the sweep one is, as its tag begins."""
    number = str(trial.experiment_tag).partition("_")[0]
    return int(number) if number.isdigit() else -1, str(trial.trial_id)


def _results(trial: Any, past: PastTrial) -> list[Metrics]:
    """Return the results that a scheduler knew of when the trial was where it now goes on."""
    if trial.is_finished() or private.exploits(trial):
        return past.results
    upto = private.reached(trial)
    return [past.by_iteration[number] for number in sorted(past.by_iteration) if number <= upto]
