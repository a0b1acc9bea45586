"""Retention in real sweeps, beside Ray's own."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import ray
from packaging.version import Version
from ray import tune

import tune_ckpt as tc
from tests.tune.trainables import side_by_side

pytestmark = pytest.mark.slow

SCORES = [0.1, 0.9, math.nan, 0.3, 0.2, 0.1]


class Nested(tune.Trainable):
    """Its metric is nested, as all of RLlib's are."""

    def step(self):
        return {"eval": {"score": SCORES[self.iteration]}}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "at.txt").write_text(str(self.iteration))

    def load_checkpoint(self, checkpoint):
        pass


def _sweep(tmp_path, callbacks=(), **checkpoints):
    run = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        stop={"training_iteration": len(SCORES)},
        verbose=0,
        callbacks=list(callbacks),
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, **checkpoints),
    )
    return tune.Tuner(Nested, run_config=run).fit()


def _kept(results):
    return [
        int(folder[-6:]) for folder in sorted(os.listdir(results[0].path)) if "checkp" in folder
    ]


@pytest.mark.skipif(Version(ray.__version__) < Version("2.54"), reason="Ray 2.48 finds the score")
def test_ray_deletes_the_best_under_a_nested_score_and_we_keep_it(tmp_path, ray_session, caplog):
    theirs = _sweep(tmp_path / "ray", num_to_keep=2, checkpoint_score_attribute="eval/score")
    assert _kept(theirs) == [4, 5]  # the best was number 1
    retention = tc.Retention(keep_last=1, keep_best=2, metric="eval/score", keep_every=4)
    ours = _sweep(tmp_path / "ours", [tc.CheckpointCallback(retention=retention)])
    assert _kept(ours) == [1, 3, 5]
    assert tc.best_checkpoint(ours, "eval/score").value == 0.9
    report = json.loads(Path(ours.experiment_path, "tune_ckpt_report.json").read_text())
    rows = [row for row in report["outcomes"] if row["action"] == "delete"]
    assert {row["status"] for row in rows} == {"done"}
    deleted = [row["checkpoint"][-6:] for row in rows]
    assert sorted(deleted) == ["000000", "000002", "000004"]


def test_the_budget_holds_in_a_sweep(tmp_path, ray_session):
    policy = tc.Retention(keep_last=9, metric="eval/score", max_bytes=2)  # each takes one byte
    results = _sweep(tmp_path, [tc.CheckpointCallback(retention=policy)])
    assert _kept(results) == [1, 3]


class Climber(tune.Trainable):
    """Its value rises by its rate; it must find whatever checkpoint it is told to take over."""

    def setup(self, config):
        self.at = 0.0

    def step(self):
        side_by_side(Path(self.config["log"]).parent, self.trial_id, self.iteration)
        self.at += self.config["rate"]
        return {"at": self.at}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "at.txt").write_text(str(self.at))

    def load_checkpoint(self, checkpoint):
        self.at = float(Path(checkpoint, "at.txt").read_text())
        with open(self.config["log"], "a") as log:
            log.write(f"{self.trial_id} {checkpoint}\n")

    def reset_config(self, new_config):
        self.config, self.at = new_config, 0.0
        return True


def test_what_pbt_exploits_is_there(tmp_path, ray_session):
    from ray.tune.schedulers import PopulationBasedTraining

    pbt = PopulationBasedTraining(
        metric="at",
        mode="max",
        time_attr="training_iteration",
        perturbation_interval=4,
        quantile_fraction=0.5,
        hyperparam_mutations={"rate": [0.1, 1.0, 2.0]},
    )
    policy = tc.Retention(keep_last=1)
    run = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        stop={"training_iteration": 16},
        verbose=0,
        callbacks=[tc.CheckpointCallback(retention=policy)],
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
    )
    config = tune.TuneConfig(scheduler=pbt, reuse_actors=True, max_concurrent_trials=2)
    log = tmp_path / "log"
    space = {"rate": tune.grid_search([0.1, 1.0]), "log": str(log)}
    results = tune.Tuner(Climber, param_space=space, run_config=run, tune_config=config).fit()
    assert not results.errors
    loaded = [line.split() for line in log.read_text().splitlines()]
    assert [path for trial, path in loaded if trial not in path]  # another one's was taken over
    assert [len(list(Path(r.path).glob("checkpoint_*"))) for r in results] == [1, 1]
