"""Sweeps that real Rays made, of many versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import tune_ckpt as tc
from tests.conftest import CORPUS, REPO
from tune_ckpt.errors import NoCheckpointError

TUNE_CASES = ["ray2.3.1-py3.8-tune-class", "ray2.60.0-py3.11-tune-class"]
DATA = REPO / "tests/data/tune"
OTHER_RAYS = sorted(DATA.glob("ray*"))


@pytest.mark.parametrize("case", TUNE_CASES)
def test_a_real_sweep_of_a_class_agrees_with_the_ray_that_ran_it(corpus, case):
    expected = json.loads((corpus / case / "expected.json").read_text())
    found = {}
    for mode in ("max", "min"):
        for record in tc.rank_checkpoints(corpus / case / "checkpoint/numpy_exp", "loss", mode):
            found[record.path] = record.trial_id, record.iteration, record.value
            assert json.loads(Path(record.path, "state.json").read_text())
            assert record.config["kind"] in ("ok", "raise", "nan", "inf")
    truth = {
        str(corpus / case / checkpoint["path"]): (
            trial["trial_id"],
            checkpoint["training_iteration"],
            float(checkpoint["loss"]),
        )
        for trial in expected["trials"]
        for checkpoint in trial["checkpoints"]
        if checkpoint["loss"] != "nan"
    }
    assert found == truth


@pytest.mark.parametrize("case", TUNE_CASES)
@pytest.mark.parametrize("metric", ["nested/b/c", "np_metric", "ünïcode/metric"])
def test_every_kind_of_metric_of_a_real_sweep_is_found(corpus, case, metric):
    best = tc.best_checkpoint(corpus / case / "checkpoint/numpy_exp", metric)
    assert best.value > 1


@pytest.mark.parametrize("case", ["ray2.40.0-py3.10-tune-ppo", "ray2.60.0-py3.11-tune-ppo"])
def test_a_real_sweep_of_rllib(corpus, case):
    expected = json.loads((corpus / case / "expected.json").read_text())
    metric = "env_runners/episode_return_mean"
    ranked = tc.rank_checkpoints(corpus / case / "checkpoint/ppo_exp", metric)
    found = {record.path: (record.trial_id, record.iteration) for record in ranked}
    assert found == {
        str(corpus / case / trial["checkpoint"]): (trial["trial_id"], 2)
        for trial in expected["trials"]
    }
    assert {r.config["lr"] for r in ranked} == {trial["lr"] for trial in expected["trials"]}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of real checkpoints")
def test_a_real_sweep_cut_short_and_moved(tmp_path):
    source = CORPUS / "ray2.60.0-py3.11-tune-class/checkpoint/numpy_exp"
    moved = tmp_path / "moved"
    shutil.copytree(source, moved, copy_function=shutil.copyfile)
    for path in [moved, *moved.rglob("*")]:
        path.chmod(0o755)
    state = next(moved.glob("experiment_state-*"))
    data = state.read_bytes()
    assert tc.best_checkpoint(moved, "loss").value == 139.0
    for cut in range(0, len(data), len(data) // 7):
        state.write_bytes(data[:cut])
        with pytest.raises(NoCheckpointError, match="recorded nowhere"):
            tc.best_checkpoint(moved, "loss")


@pytest.mark.parametrize("folder", OTHER_RAYS, ids=lambda folder: folder.name)
def test_sweeps_of_other_rays(folder):
    ranked = tc.rank_checkpoints(folder, "eval/score")
    facts = [(record.config["name"], record.iteration, record.value) for record in ranked]
    assert facts == [("a", 2, 0.9), ("b", 3, 0.8), ("b", 2, 0.5), ("a", 3, 0.2), ("a", 1, 0.1)]
    assert "eval/score is nan" in ranked.explain()
    assert Path(ranked[0].path, "x").is_file()


def test_a_run_of_ray_train():
    ranked = tc.rank_checkpoints(DATA / "train2.60.0-run", "eval/score")
    assert [record.value for record in ranked] == [0.9, 0.5, 0.2]
    assert [record.iteration for record in ranked] == [2, 1, 4]
    assert [Path(r.path, "x").read_text() for r in ranked] == ["0.9", "0.5", "0.2"]
    assert "eval/score is None" in ranked.explain()  # it was NaN
