"""Sweeps that have just ended: their results in memory and their folder agree."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from ray import tune

import tune_ckpt as tc
from tests.tune.trainables import MsgpackWalker, Walker
from tune_ckpt.errors import NoCheckpointError

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
            tune.report({"eval": {"score": score}}, checkpoint=checkpoint)
    if config["name"] == "a":
        raise RuntimeError("a trial that fails counts too")


@pytest.fixture(scope="module", params=["class", "function", "ours"])
def live(request, ray_session, tmp_path_factory):
    """A sweep that has just ended, and its folder."""
    trainable = {"class": Plain, "function": _report, "ours": Walker}[request.param]
    scores = {name: dict(enumerate(values)) for name, values in SCORES.items()}
    space = {"name": tune.grid_search(list(SCORES))}
    if request.param == "ours":
        space = {"scores": tune.grid_search(list(scores.values()))}
    run = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path_factory.mktemp(request.param)),
        stop={"training_iteration": 3},
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(
            checkpoint_frequency=0 if request.param == "function" else 1
        ),
    )
    metric = "score" if request.param == "ours" else "eval/score"
    return tune.Tuner(trainable, param_space=space, run_config=run).fit(), metric


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
    best = tc.best_checkpoint(results, metric)
    analysis = tune.ExperimentAnalysis(results.experiment_path)
    assert tc.best_checkpoint(analysis, metric).path == best.path
    trials = {result.metrics["trial_id"]: result for result in results}
    for source in (trials[best.trial_id], trials[best.trial_id].path):
        assert tc.best_checkpoint(source, metric).path == best.path
    for trial_id, result in trials.items():
        assert {r.trial_id for r in tc.rank_checkpoints(result, metric)} == {trial_id}


def test_results_whose_checkpoints_were_deleted(live, tmp_path):
    results, metric = live
    best = tc.best_checkpoint(results, metric)
    kept = tmp_path / "kept"
    shutil.move(best.path, kept)
    try:
        for source in (results, results.experiment_path):
            second = tc.best_checkpoint(source, metric)
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


@pytest.mark.parametrize("cls", [Walker, MsgpackWalker], ids=["pickle", "msgpack"])
def test_the_best_is_restored_loaded_and_exported(ray_session, tmp_path, cls):
    run = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        stop={"training_iteration": 4},
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
    )
    results = tune.Tuner(cls, param_space={"seed": 7}, run_config=run).fit()
    best = tc.best_checkpoint(results, "walk/at")
    for walker in (best.restore(), best.restore(cls)):
        assert type(walker) is cls
        assert walker.path[-1] == best.value
        assert walker.iteration == best.iteration
    weights = best.load("weights")
    assert weights["w"].sum() == pytest.approx(best.value)
    exported = best.export(tmp_path / "served")
    assert tc.verify(exported).ok
    np.testing.assert_array_equal(tc.load_state(exported, "weights")["w"], weights["w"])
