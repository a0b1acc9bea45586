"""Schedulers go on as if nothing had happened, where the sweep ran with our callback."""

import functools
import json
import os
from itertools import pairwise

import pytest
from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
)

import tune_ckpt as tc
from tests.tune.resuming import GOAL, POPULATION, Climber, in_two_parts, uninterrupted
from tests.tune.sweeps import pb2

pytestmark = pytest.mark.slow


def _pbt(**options):
    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"rate": tune.uniform(0.5, 4.0)},
        quantile_fraction=0.5,
        resample_probability=0.5,
        **options,
    )


def _pb2():
    return pb2(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_bounds={"rate": [0.5, 4.0]},
        quantile_fraction=0.5,
    )


SYNCHRONOUS = "PBT, synchronous"
SWEEPS = {
    "ASHA, brackets": (lambda: ASHAScheduler(max_t=6, reduction_factor=2, brackets=2), 6, 11),
    "HyperBand": (lambda: HyperBandScheduler(max_t=4, reduction_factor=2), 6, 5),
    "median, soft": (
        lambda: MedianStoppingRule(
            "training_iteration", grace_period=1, min_samples_required=1, hard_stop=False
        ),
        4,
        9,
    ),
    "PBT": (_pbt, 6, 13),
    "PB2": (_pb2, 6, 13),
    SYNCHRONOUS: (lambda: _pbt(synch=True), 6, 13),
}
# With Ray 2.60 such a sweep itself stops for ever now and then, callback or not.
SYNC = pytest.param(
    SYNCHRONOUS,
    marks=pytest.mark.skipif(
        "TUNE_CKPT_SYNCHRONOUS_PBT" not in os.environ,
        reason="Ray's synchronous PBT may hang; set TUNE_CKPT_SYNCHRONOUS_PBT to try",
    ),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, ray_session):
    """What each sweep does when it is not interrupted."""

    @functools.cache
    def run(name):
        scheduler, stop, _ = SWEEPS[name]
        folder = tmp_path_factory.mktemp("whole")
        return uninterrupted(folder, scheduler, stop, space=POPULATION, **GOAL)

    return run


# By day one that pauses trials and one that lets them exploit each other: the state is kept in one
# way whatever it is.
BY_NIGHT = [
    pytest.param(name, marks=[pytest.mark.nightly, *marks])
    for name, *marks in (
        ("ASHA, brackets",),
        ("median, soft",),
        # It fits a Gaussian process to a few points, and is warned of now this, now that.
        ("PB2", pytest.mark.filterwarnings("ignore")),
    )
]


@pytest.mark.parametrize("name", ["HyperBand", "PBT", *BY_NIGHT, SYNC])
def test_a_scheduler_goes_on_as_if_it_had_not_been_interrupted(tmp_path, whole, name):
    callback = tc.CheckpointCallback()
    parts, _ = in_two_parts(tmp_path, *SWEEPS[name], callback, space=POPULATION, **GOAL)
    assert parts == whole(name)


@pytest.mark.parametrize("name", ["median, soft", SYNC])
def test_it_is_not_told_twice_of_a_result_that_was_not_saved(tmp_path, whole, name):
    options = {"space": POPULATION, "saved": False, **GOAL}
    parts, _ = in_two_parts(tmp_path, *SWEEPS[name], tc.CheckpointCallback(), **options)
    twice = [row for row, following in pairwise(parts) if row == following]
    assert len(twice) <= 1
    for row in twice:
        parts.remove(row)
    assert parts == whole(name)


class Resourced(Climber):
    """Says what it was given."""

    def step(self):
        given = self.trial_resources.required_resources["CPU"]
        return {**super().step(), "given": given}


def _less(controller, trial, result, scheduler):
    return tune.PlacementGroupFactory([{"CPU": 1.5}])


def _changing():
    return ResourceChangingScheduler(ASHAScheduler(max_t=4, reduction_factor=2), _less)


CHANGING = {
    "space": {"rate": tune.grid_search([2.0])},
    "reuse_actors": False,
    "cls": Resourced,
    **GOAL,
}


@pytest.mark.parametrize(
    "callbacks",
    [
        pytest.param(1, id="with the callback"),
        pytest.param(0, id="from the results", marks=pytest.mark.nightly),
    ],
)
def test_so_does_one_that_changes_resources(tmp_path, ray_session, callbacks):
    callback = [tc.CheckpointCallback()] * callbacks
    parts, _ = in_two_parts(tmp_path, _changing, 4, 2, *callback, names=["given"], **CHANGING)
    given = [2, 1.5, 1.5, 1.5]
    assert parts == [(0, step, 2.0 * step, given[step - 1], 2.0) for step in (1, 2, 3, 4)]


def test_so_does_the_replay_of_a_population(tmp_path, ray_session):
    policy = tmp_path / "pbt_policy_0.txt"
    steps = [["0", "0", 2 * n, 2 * n, {"rate": n}, {"rate": n + 1}] for n in (1, 2)]
    policy.write_text("".join(f"{json.dumps(step)}\n" for step in steps))

    def scheduler():
        return PopulationBasedTrainingReplay(str(policy))

    # It saves when it changes the config; with other saves, Ray's ends early now and then.
    options = {"space": {}, "frequency": 0}
    parts, _ = in_two_parts(tmp_path, scheduler, 6, 2, tc.CheckpointCallback(), **options)
    heights, following = [1, 2, 4, 6, 9, 12], [1, 2, 2, 3, 3, 3]
    expected = zip(range(1, 7), heights, following, strict=True)
    assert parts == [(0, *row) for row in expected]
