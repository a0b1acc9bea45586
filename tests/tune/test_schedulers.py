"""The mixin under every kind of scheduler: trials are paused, resumed, exploited and killed.

Whatever happens between two iterations, a trial's values are those of an uninterrupted one.
"""

import json
import os
import signal
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from ray import tune
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, PopulationBasedTraining

import tune_ckpt as tc
from tests.tune.sweeps import checkpoints, pb2, rows
from tests.tune.trainables import MsgpackWalker, side_by_side
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import open_store

pytestmark = pytest.mark.slow


class Kept(MsgpackWalker):
    """Can be given another config and go on as another trial."""

    def reset_config(self, new_config):
        self.config = new_config
        self.setup(new_config)
        return True


class Paired(Kept):
    """Two of them go on side by side: neither is more than one iteration ahead."""

    def step(self):
        side_by_side(self.config["folder"], self.trial_id, self.iteration)
        return super().step()


class Heard(tune.Callback):
    """Writes down every result: of a trial that is started again, Ray drops some of its log.

    It takes the log from the storage, to which it copies it every ten seconds.
    """

    def on_trial_result(self, iteration, trials, trial, result, **info):
        with open(f"{trial.storage.trial_fs_path}.heard", "a") as file:
            file.write(json.dumps(result, default=repr) + "\n")


def _run(tmp_path, cls, space, scheduler=None, iterations=6, samples=1, **options):
    saves = options.pop("saves", {"checkpoint_frequency": 1})
    reuse_actors = options.pop("reuse_actors", False)
    run_config = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        verbose=0,
        stop={"training_iteration": iterations},
        callbacks=[Heard()],
        checkpoint_config=tune.CheckpointConfig(**saves),
        **options,
    )
    tune_config = tune.TuneConfig(
        scheduler=scheduler,
        num_samples=samples,
        reuse_actors=reuse_actors,
        time_budget_s=150,  # what hangs shall fail
    )
    tuner = tune.Tuner(cls, param_space=space, run_config=run_config, tune_config=tune_config)
    return tuner.fit()


def _rows(result):
    return rows(f"{result.path}.heard")


def _uninterrupted(seed, steps):
    walker = MsgpackWalker({"seed": seed})
    return [walker.train()["walk"]["at"] for _ in range(steps)]


def _assert_uninterrupted(results):
    for result in results:
        assert result.error is None
        rows = _rows(result)
        values = [row["walk"]["at"] for row in rows]
        assert values == _uninterrupted(result.config["seed"], len(rows))
        assert [row["training_iteration"] for row in rows] == list(range(1, len(rows) + 1))


def test_hyperband_pauses_trials_and_they_go_on_bit_by_bit(tmp_path, ray_session):
    scheduler = HyperBandScheduler(
        time_attr="training_iteration", metric="score", mode="max", max_t=4, reduction_factor=2
    )
    results = _run(
        tmp_path,
        Kept,
        {"seed": tune.grid_search([1, 2, 3, 4, 5, 6])},
        scheduler,
        iterations=4,
        saves={},
        reuse_actors=True,
    )
    _assert_uninterrupted(results)
    rows = [row for result in results for row in _rows(result)]
    assert any(row["iterations_since_restore"] < row["training_iteration"] for row in rows)


def test_asha_stops_trials_and_reused_actors_keep_them_apart(tmp_path, ray_session):
    scheduler = ASHAScheduler(metric="score", mode="max", grace_period=1, max_t=6)
    seeds = {"seed": tune.grid_search([1, 2, 3, 4, 5])}
    saves = {"checkpoint_frequency": 4, "checkpoint_at_end": True}
    options = {"reuse_actors": True, "saves": saves}
    results = _run(tmp_path, Kept, seeds, scheduler, **options)
    _assert_uninterrupted(results)
    by_pid = defaultdict(set)
    for result in results:
        rows = _rows(result)
        by_pid[rows[0]["pid"]].add(result.metrics["trial_id"])
        saved_at = [len(tc.load_state(path)["path"]) for path in checkpoints(result)]
        assert saved_at == sorted({*range(4, len(rows) + 1, 4), len(rows)})
    assert max(map(len, by_pid.values())) > 1  # one actor did run several trials


def _digest(path):
    return open_tree(open_store(path)).metadata.digest


POPULATIONS = {
    "PBT": (PopulationBasedTraining, {"hyperparam_mutations": {"lr": [1.0, 2.0]}}),
    "PB2": (pb2, {"hyperparam_bounds": {"lr": [0.5, 2.0]}}),
}


# PB2 fits a Gaussian process to a few random points, and is warned of now this, now that.
_PB2 = [pytest.mark.filterwarnings("ignore"), pytest.mark.nightly]


@pytest.mark.parametrize(
    ("name", "reuse_actors"),
    [("PBT", True), pytest.param("PB2", False, marks=_PB2)],
)
def test_a_population_goes_on_from_another_trials_checkpoint_and_says_so(
    tmp_path, ray_session, name, reuse_actors
):
    cls, lr = POPULATIONS[name]
    scheduler = cls(
        metric="score",
        mode="max",
        time_attr="training_iteration",
        perturbation_interval=2,
        quantile_fraction=0.5,
        **lr,
    )
    space = {"lr": 1.0, "seed": tune.grid_search([1, 2]), "folder": str(tmp_path)}
    results = _run(tmp_path, Paired, space, scheduler, iterations=8, reuse_actors=reuse_actors)
    assert not results.errors
    digests = {_digest(path) for result in results for path in checkpoints(result)}
    donors = 0
    for result in results:
        for path in checkpoints(result):
            lineage = tc.describe(path).lineage
            if lineage:
                assert lineage["restored_from"] in digests
                donors += lineage["restored_from_trial"]["id"] != result.metrics["trial_id"]
    assert donors
    # ... and what was taken over is the donor's walk to the last bit, iterations included.
    for result in results:
        final = tc.load_state(checkpoints(result)[-1])
        assert len(final["path"]) == 8
        assert any(np.array_equal(final["path"][:2], _uninterrupted(seed, 2)) for seed in (1, 2))


class Killed(MsgpackWalker):
    """Its process is killed twice, each time in the middle of a step."""

    def step(self):
        result = super().step()
        for iteration in (2, 4):
            marker = Path(self.config["folder"], f"killed_{iteration}")
            if self.iteration == iteration and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return result


def test_killed_actors_go_on_bit_by_bit(tmp_path, ray_session):
    failures = tune.FailureConfig(max_failures=3)
    space = {"seed": 5, "folder": str(tmp_path)}
    results = _run(tmp_path, Killed, space, failure_config=failures)
    assert len(list(tmp_path.glob("killed_*"))) == 2
    _assert_uninterrupted(results)


class Unsaveable(MsgpackWalker):
    """Holds something that cannot be saved, from its third iteration on."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        extra = {"callback": lambda: 0} if self.iteration >= 3 else {}
        return {**super().get_state(), **extra}


def test_a_trial_whose_save_fails_ends_with_the_path_of_what_failed(tmp_path, ray_session):
    results = _run(tmp_path, Unsaveable, {"seed": 5})
    assert "callback" in str(results[0].error)
    (*_, last) = checkpoints(results[0])
    assert tc.verify(last).ok
    assert tc.best_checkpoint(results, "walk/at", "max").trial_id
