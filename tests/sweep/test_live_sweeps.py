"""Sweeps that have just ended: their results in memory and their folder agree."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from ray import tune

import tune_ckpt as tc
from tests.tune.trainables import Walker
from tune_ckpt.errors import InvalidArgumentError, NoCheckpointError

pytestmark = pytest.mark.slow

SCORES = {
    "a": [0.1, 0.9, 0.2],
    "b": [math.nan, 0.5, 0.9],
    "c": [0.3, -1.0, 0.4],
}


class Plain(tune.Trainable):
    """A Trainable that knows nothing of this package."""

    def setup(self, config):
        self.scores = SCORES[config["name"]]

    def step(self):
        return {"eval": {"score": np.float32(self.scores[self.iteration])}}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "at.txt").write_text(str(self.iteration))

    def load_checkpoint(self, checkpoint):
        pass


def _report(config):
    import tempfile

    for score in SCORES[config["name"]]:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "score.txt").write_text(str(score))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({"eval": {"score": score}, "speed": -score}, checkpoint=checkpoint)
    if config["name"] == "a":
        raise RuntimeError("a trial that fails counts too")


def _ended(trainable, storage, name="name", values=tuple(SCORES), frequency=1, **options):
    """Run a sweep of three trials to its end."""
    return tune.Tuner(
        trainable,
        param_space={name: tune.grid_search(list(values))},
        tune_config=tune.TuneConfig(**options),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(storage),
            stop={"training_iteration": 3},
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=frequency),
        ),
    ).fit()


@pytest.fixture(scope="module")
def of_a_class(ray_session, tmp_path_factory):
    return _ended(Plain, tmp_path_factory.mktemp("class"))


@pytest.fixture(scope="module")
def of_a_function(ray_session, tmp_path_factory):
    goal = {"metric": "eval/score", "mode": "min"}
    return _ended(_report, tmp_path_factory.mktemp("function"), frequency=0, **goal)


@pytest.fixture(scope="module")
def of_ours(ray_session, tmp_path_factory):
    scores = [dict(enumerate(values)) for values in SCORES.values()]
    return _ended(Walker, tmp_path_factory.mktemp("ours"), "scores", scores)


@pytest.fixture(params=["of_a_class", "of_a_function", "of_ours"])
def live(request):
    """A sweep that has just ended, and its metric."""
    metric = "score" if request.param == "of_ours" else "eval/score"
    return request.getfixturevalue(request.param), metric


def _facts(records):
    return [(r.path, r.trial_id, r.iteration, r.value, r.config) for r in records]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_results_and_their_folder_agree(live, mode):
    results, metric = live
    in_memory = tc.rank_checkpoints(results, metric, mode)
    in_folder = tc.rank_checkpoints(results.experiment_path, metric, mode)
    assert _facts(in_memory) == _facts(in_folder)
    values = [pytest.approx(x) for scores in SCORES.values() for x in scores if not math.isnan(x)]
    assert sorted(record.value for record in in_memory) == sorted(values, key=lambda a: a.expected)
    best = in_memory[0]
    assert best.value == pytest.approx(0.9 if mode == "max" else -1.0)
    assert best.iteration == 2
    assert best.checkpoint.to_directory()


def test_whatever_ray_gives_leads_to_the_same(live):
    results, metric = live
    best = tc.best_checkpoint(results, metric, "max")
    analysis = tune.ExperimentAnalysis(results.experiment_path)
    assert tc.best_checkpoint(analysis, metric, "max").path == best.path
    trials = {result.metrics["trial_id"]: result for result in results}
    for source in (trials[best.trial_id], trials[best.trial_id].path):
        assert tc.best_checkpoint(source, metric, "max").path == best.path
    for trial_id, result in trials.items():
        assert {r.trial_id for r in tc.rank_checkpoints(result, metric)} == {trial_id}


def test_results_whose_checkpoints_were_deleted(live, tmp_path):
    results, metric = live
    best = tc.best_checkpoint(results, metric, "max")
    kept = tmp_path / "kept"
    shutil.move(best.path, kept)
    try:
        for source in (results, results.experiment_path):
            second = tc.best_checkpoint(source, metric, "max")
            assert second.path == best.runner_up.path
    finally:
        shutil.move(kept, best.path)


def test_results_whose_folder_is_gone(live, tmp_path):
    results, metric = live
    shutil.move(results.experiment_path, tmp_path / "elsewhere")
    try:
        with pytest.raises(NoCheckpointError):
            tc.best_checkpoint(results, metric)
        moved = tc.best_checkpoint(tmp_path / "elsewhere", metric)
        assert moved.iteration == 2
    finally:
        shutil.move(tmp_path / "elsewhere", results.experiment_path)


def test_the_best_is_restored_loaded_and_exported(of_ours, tmp_path):
    best = tc.best_checkpoint(of_ours, "walk/at")
    for walker in (best.restore(), best.restore(Walker)):
        assert type(walker) is Walker
        assert walker.path[-1] == best.value
        assert walker.iteration == best.iteration
    weights = best.load("weights")
    assert weights["w"].sum() == pytest.approx(best.value)
    exported = best.export(tmp_path / "served")
    assert tc.verify(exported).ok
    np.testing.assert_array_equal(tc.load_state(exported, "weights")["w"], weights["w"])


# ------------------------------------------------------------ what the sweep's TuneConfig says


def test_the_results_know_metric_and_mode(of_a_function):
    best = tc.best_checkpoint(of_a_function)
    assert (best.metric, best.mode, best.value) == ("eval/score", "min", -1.0)
    assert tc.best_checkpoint(of_a_function, "eval/score").path == best.path


def test_what_is_said_comes_first(of_a_function):
    assert tc.best_checkpoint(of_a_function, "eval/score", "max").value == 0.9
    assert tc.best_checkpoint(of_a_function, mode="max").value == 0.9


def test_the_mode_is_that_of_its_metric_alone(of_a_function):
    assert tc.best_checkpoint(of_a_function, "speed").value == 1.0


def test_a_folder_does_not_tell(of_a_function):
    with pytest.raises(InvalidArgumentError, match="metric"):
        tc.best_checkpoint(of_a_function.experiment_path)
    assert tc.best_checkpoint(of_a_function.experiment_path, "eval/score").mode == "max"
