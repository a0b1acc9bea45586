"""The mixin under every kind of scheduler: trials are paused, resumed, exploited and killed.

Whatever happens between two iterations, a trial's values are those of an uninterrupted one.
"""

import json
import os
import signal
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from ray import tune
from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, PopulationBasedTraining

import tune_ckpt as tc
from tests.tune.trainables import MsgpackWalker
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import open_store

# Ray warns of its own future.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Kept(MsgpackWalker):
    """Can be given another config and go on as another trial."""

    def reset_config(self, new_config):
        self.config = new_config
        self.setup(new_config)
        return True


class Paired(Kept):
    """Two of them go on side by side: neither is more than one iteration ahead."""

    def step(self):
        folder = Path(self.config["folder"])
        folder.joinpath(f"{self.trial_id}-{self.iteration}").touch()
        while len(list(folder.glob(f"*-{self.iteration}"))) < 2:
            time.sleep(0.01)
        return super().step()


def _run(tmp_path, cls, space, scheduler=None, iterations=6, samples=1, **options):
    checkpoints = options.pop("checkpoints", {"checkpoint_frequency": 1})
    reuse_actors = options.pop("reuse_actors", False)
    run_config = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        verbose=0,
        stop={"training_iteration": iterations},
        checkpoint_config=tune.CheckpointConfig(**checkpoints),
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
    lines = (Path(result.path) / "result.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


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


def _checkpoints(result):
    return sorted(Path(result.path).glob("checkpoint_*"))


def test_hyperband_pauses_trials_and_they_go_on_bit_by_bit(tmp_path, ray_session):
    scheduler = HyperBandScheduler(
        time_attr="training_iteration", metric="score", mode="max", max_t=4, reduction_factor=2
    )
    results = _run(
        tmp_path,
        MsgpackWalker,
        {"seed": tune.grid_search([1, 2, 3, 4, 5, 6])},
        scheduler,
        iterations=4,
        checkpoints={},
    )
    _assert_uninterrupted(results)
    rows = [row for result in results for row in _rows(result)]
    assert any(row["iterations_since_restore"] < row["training_iteration"] for row in rows)


def test_asha_stops_trials_and_reused_actors_keep_them_apart(tmp_path, ray_session):
    scheduler = ASHAScheduler(metric="score", mode="max", grace_period=1, max_t=6)
    seeds = {"seed": tune.grid_search([1, 2, 3, 4, 5])}
    results = _run(tmp_path, Kept, seeds, scheduler, reuse_actors=True)
    _assert_uninterrupted(results)
    by_pid = defaultdict(set)
    for result in results:
        by_pid[_rows(result)[0]["pid"]].add(result.metrics["trial_id"])
    assert max(map(len, by_pid.values())) > 1  # one actor did run several trials


def _digest(path):
    return open_tree(open_store(path)).metadata.digest


@pytest.mark.parametrize("reuse_actors", [False, True], ids=["new actors", "reused actors"])
def test_pbt_goes_on_from_another_trials_checkpoint_and_says_so(
    tmp_path, ray_session, reuse_actors
):
    scheduler = PopulationBasedTraining(
        metric="score",
        mode="max",
        time_attr="training_iteration",
        perturbation_interval=2,
        quantile_fraction=0.5,
        hyperparam_mutations={"lr": [1.0, 2.0]},
    )
    space = {"lr": 1.0, "seed": tune.grid_search([1, 2]), "folder": str(tmp_path)}
    results = _run(tmp_path, Paired, space, scheduler, iterations=8, reuse_actors=reuse_actors)
    assert not results.errors
    digests = {_digest(path) for result in results for path in _checkpoints(result)}
    donors = 0
    for result in results:
        for path in _checkpoints(result):
            lineage = tc.describe(path).lineage
            if lineage:
                assert lineage["restored_from"] in digests
                donors += lineage["restored_from_trial"]["id"] != result.metrics["trial_id"]
    assert donors
    # ... and what was taken over is the donor's walk to the last bit, iterations included.
    for result in results:
        final = tc.load_state(_checkpoints(result)[-1])
        assert len(final["path"]) == 8
        assert any(np.array_equal(final["path"][:2], _uninterrupted(seed, 2)) for seed in (1, 2))


def test_pb2_goes_on_from_another_trials_checkpoint(tmp_path, ray_session):
    pytest.importorskip("sklearn")
    from ray.tune.schedulers.pb2 import PB2

    scheduler = PB2(
        metric="score",
        mode="max",
        time_attr="training_iteration",
        perturbation_interval=2,
        quantile_fraction=0.5,
        hyperparam_bounds={"lr": [0.5, 2.0]},
    )
    seeds = {"seed": tune.grid_search([1, 2]), "folder": str(tmp_path)}
    space = {"lr": tune.uniform(0.5, 2.0), **seeds}
    results = _run(tmp_path, Paired, space, scheduler, iterations=6)
    assert not results.errors
    for result in results:
        assert len(tc.load_state(_checkpoints(result)[-1])["path"]) == 6


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


def test_checkpoint_at_end_and_frequency_together(tmp_path, ray_session):
    checkpoints = {"checkpoint_frequency": 4, "checkpoint_at_end": True}
    (result,) = _run(tmp_path, MsgpackWalker, {"seed": 5}, checkpoints=checkpoints)
    iterations = [len(tc.load_state(path)["path"]) for path in _checkpoints(result)]
    assert iterations == [4, 6]


class Unsaveable(MsgpackWalker):
    """Holds something that cannot be saved, from its third iteration on."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        extra = {"callback": lambda: 0} if self.iteration >= 3 else {}
        return {**super().get_state(), **extra}


def test_a_trial_whose_save_fails_ends_with_the_path_of_what_failed(tmp_path, ray_session):
    results = _run(tmp_path, Unsaveable, {"seed": 5})
    assert "callback" in str(results[0].error)
    (*_, last) = _checkpoints(results[0])
    assert tc.verify(last).ok
    assert tc.best_checkpoint(results, "walk/at", "max").trial_id
