"""What a Tuner is made of.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

import logging
import signal
from typing import Any


def restored(path: str, trainable: Any, **options: Any) -> Any:
    """Return ``tune.Tuner.restore(...)``, without its warning of trials that have no results yet.

    Ray reads them for ``get_results()``, and has a line of each trial that a kill left without.
    """
    from ray import tune
    from ray.tune.analysis import experiment_analysis

    logger = logging.getLogger(experiment_analysis.__name__)
    was_disabled, logger.disabled = logger.disabled, True
    try:
        return tune.Tuner.restore(path, trainable, **options)
    finally:
        logger.disabled = was_disabled


def tune_config(tuner: Any) -> Any:
    """Return a Tuner's `TuneConfig`."""
    return tuner._local_tuner._tune_config


def run_config(tuner: Any) -> Any:
    """Return a Tuner's `RunConfig`."""
    return tuner._local_tuner.get_run_config()


def statuses(results: Any) -> dict[str, str]:
    """Return how each trial of a ResultGrid stands."""
    return {trial.trial_id: str(trial.status) for trial in results._experiment_analysis.trials}


def fit(tuner: Any) -> tuple[Any, bool]:
    """Run a Tuner; return its results, and whether Ctrl-C ended it.

    Tune takes SIGINT over, and gives it back only when it came; trials that it stopped then count
    as finished, but for their last results.
    """
    before = signal.getsignal(signal.SIGINT)
    results = tuner.fit()
    given_back = signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, before)
    trials = results._experiment_analysis.trials
    return results, given_back and not all(trial.last_result.get("done") for trial in trials)


def checkpoint_config(tuner: Any, trainable: Any) -> Any:
    """Return when and how a Tuner's trials save."""
    return tuner._local_tuner._get_tune_run_arguments(trainable)["checkpoint_config"]


def trainable_name(trainable: Any) -> str:
    """Return the name under which Tune knows a trainable."""
    from ray.tune.experiment import Experiment

    return str(Experiment.get_trainable_name(trainable))


def is_registered(name: str) -> bool:
    """Say whether a name stands for a trainable, in the Ray that this process uses."""
    from ray.tune.error import TuneError
    from ray.tune.registry import validate_trainable

    try:
        validate_trainable(name)
    except TuneError:
        return False
    return True


def as_subclass(cls: type[Any], tuner: Any) -> Any:
    """Return a Tuner as one of a subclass."""
    return cls(_tuner_internal=tuner._local_tuner)


def trainable_of(tuner: Any) -> Any:
    """Return what a Tuner runs, as Tune has it."""
    return tuner._local_tuner.converted_trainable
