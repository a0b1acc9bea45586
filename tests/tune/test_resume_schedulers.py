"""Schedulers and searchers go on as if nothing had happened."""

import random
from itertools import pairwise

import numpy as np
import pytest
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
)

import tune_ckpt as tc
from tests.tune.resuming import Record, interrupted, new_tuner, recorded, resumed

pytestmark = pytest.mark.slow

GOAL = {"metric": "height", "mode": "max"}
POPULATION = {"rate": tune.grid_search([1.0, 2.0, 3.0, 4.0])}


def _pbt(**options):
    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"rate": tune.uniform(0.5, 4.0)},
        quantile_fraction=0.5,
        resample_probability=0.5,
        **options,
    )


SWEEPS = {
    "ASHA": (lambda: ASHAScheduler(max_t=6, reduction_factor=2), 6, 11),
    "ASHA, brackets": (lambda: ASHAScheduler(max_t=6, reduction_factor=2, brackets=2), 6, 11),
    "HyperBand": (lambda: HyperBandScheduler(max_t=4, reduction_factor=2), 6, 5),
    "median": (
        lambda: MedianStoppingRule("training_iteration", grace_period=1, min_samples_required=2),
        4,
        9,
    ),
    "median, soft": (
        lambda: MedianStoppingRule(
            "training_iteration", grace_period=1, min_samples_required=1, hard_stop=False
        ),
        4,
        9,
    ),
    "PBT": (_pbt, 6, 13),
    "PBT, synchronous": (lambda: _pbt(synch=True), 6, 13),
    "ResourceChanging": (
        lambda: ResourceChangingScheduler(
            ASHAScheduler(max_t=6, reduction_factor=2), lambda *args, **kwargs: None
        ),
        6,
        11,
    ),
}


def _seed(number):
    random.seed(number)
    np.random.seed(number)


def _told(tmp_path, scheduler, stop, after, *callbacks, **options):
    """Return what a sweep does when it is interrupted, and when it is not."""
    options = {"space": POPULATION, **GOAL, **options}
    saved = options.pop("saved", True)
    _seed(1)
    record = Record(str(tmp_path / "whole.txt"))
    new_tuner(tmp_path, record, stop=stop, scheduler=scheduler(), name="whole", **options).fit()
    _seed(1)
    record = Record(str(tmp_path / "parts.txt"))
    path = interrupted(
        tmp_path,
        after,
        record,
        *callbacks,
        saved=saved,
        stop=stop,
        scheduler=scheduler(),
        **options,
    )
    _seed(2)
    tuner = resumed(path)
    tuner.fit()
    return recorded(tmp_path / "parts.txt"), recorded(tmp_path / "whole.txt"), tuner.report


@pytest.mark.parametrize("name", SWEEPS)
def test_a_scheduler_goes_on_as_if_it_had_not_been_interrupted(tmp_path, ray_session, name):
    reuse = name != "ResourceChanging"  # it refuses that
    callback = tc.CheckpointCallback()
    parts, whole, _ = _told(tmp_path, *SWEEPS[name], callback, reuse_actors=reuse)
    assert parts == whole


@pytest.mark.parametrize("name", ["HyperBand", "median", "PBT, synchronous"])
def test_it_is_not_told_twice_of_a_result_that_was_not_saved(tmp_path, ray_session, name):
    parts, whole, _ = _told(tmp_path, *SWEEPS[name], tc.CheckpointCallback(), saved=False)
    twice = [row for row, following in pairwise(parts) if row == following]
    assert len(twice) <= 1
    for row in twice:
        parts.remove(row)
    assert parts == whole


@pytest.mark.parametrize("name", ["ASHA", "HyperBand", "median"])
def test_without_the_callback_the_state_is_made_again_from_the_results(tmp_path, ray_session, name):
    parts, whole, report = _told(tmp_path, *SWEEPS[name])
    assert "made again from the trials' results" in str(report) or name == "ASHA"
    assert parts == whole
