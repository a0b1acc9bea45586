"""What a Tuner is made of.

Checked with Ray 2.48, 2.54 and 2.60.
"""

from __future__ import annotations

from typing import Any


def tune_config(tuner: Any) -> Any:
    """Return a Tuner's `TuneConfig`."""
    return tuner._local_tuner._tune_config


def run_config(tuner: Any) -> Any:
    """Return a Tuner's `RunConfig`."""
    return tuner._local_tuner.get_run_config()


def internals(tuner: Any) -> Any:
    """Return what a Tuner's subclass is made of."""
    return tuner._local_tuner


def checkpoint_config(tuner: Any, trainable: Any) -> Any:
    """Return when and how a Tuner's trials save."""
    return tuner._local_tuner._get_tune_run_arguments(trainable)["checkpoint_config"]


def trainable_name(trainable: Any) -> str:
    """Return the name under which Tune knows a trainable."""
    from ray.tune.experiment import Experiment

    return str(Experiment.get_trainable_name(trainable))
