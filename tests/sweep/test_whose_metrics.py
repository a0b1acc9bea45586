"""Which metrics and config belong to which checkpoint of a sweep."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

import tune_ckpt as tc
from tests.sweep.folders import (
    A,
    B,
    class_trial,
    function_trial,
    names,
    own_checkpoint,
    plain_checkpoint,
    write_state,
)
from tune_ckpt.errors import NoCheckpointError
from tune_ckpt.formats import pickle
from tune_ckpt.sweep.trial_folder import trial_id_in


@pytest.mark.parametrize(
    ("name", "trial"),
    [
        ("fn_0dcc7_00001_1_lr=0.1_2026-11-22", "0dcc7_00001"),
        ("fn_d1e6a06a_4_lr=0.1_2026-11-22", "d1e6a06a"),
        ("inner_0dcc7_00001", "0dcc7_00001"),
        ("run_12345", None),
        ("run", None),
    ],
)
def test_a_trials_id_stands_in_its_folders_name(name, trial):
    assert trial_id_in(name) == trial


def test_own_metadata_wins(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.9, "more": 1}, {"acc": 0.8, "more": 2}])
    shutil.rmtree(folder / "checkpoint_000000")
    # Written again after a crash: the checkpoint is now of iteration 5.
    own_checkpoint(folder / "checkpoint_000000", {"acc": 0.1, "training_iteration": 5}, 5)
    shutil.rmtree(folder / "checkpoint_000001")
    own_checkpoint(folder / "checkpoint_000001", {"acc": 0.7, "training_iteration": 2}, 2)
    first, second = tc.rank_checkpoints(tmp_path, "acc")
    assert (first.value, first.iteration, first.metrics["more"]) == (0.7, 2, 2)
    assert (second.value, second.iteration, second.metrics.get("more")) == (0.1, 5, None)


def test_own_metadata_is_enough(tmp_path):
    own_checkpoint(tmp_path / "any_name" / "checkpoint_000003", {"acc": 0.5}, 4, trial="t1")
    best = tc.best_checkpoint(tmp_path, "acc")
    assert (best.trial_id, best.iteration, best.config) == ("t1", 4, {})


def test_metrics_of_a_class_come_from_the_experiment_state(tmp_path):
    first = class_trial(tmp_path, A, [{"acc": np.float32(0.5)}, {"acc": np.float32(0.75)}])
    second = class_trial(tmp_path, B, [{"acc": math.nan}, {"acc": 0.625}])
    write_state(tmp_path, first, second)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert (best.trial_id, best.iteration, best.value) == (A, 2, 0.75)
    assert names([best.runner_up]) == [(B, 2)]


def test_trials_of_an_earlier_sweep_in_the_folder_stand_in_its_own_state(tmp_path):
    write_state(tmp_path, class_trial(tmp_path, A, [{"acc": 0.9}]), time="2026-01-01_00-00-00")
    write_state(tmp_path, class_trial(tmp_path, B, [{"acc": 0.5}]), time="2026-01-02_00-00-00")
    assert names(tc.rank_checkpoints(tmp_path, "acc")) == [(A, 1), (B, 1)]
    (tmp_path / "experiment_state-2026-01-01_00-00-00.json").write_text("{")
    ranked = tc.rank_checkpoints(tmp_path, "acc")
    assert names(ranked) == [(B, 1)]
    assert "experiment_state-2026-01-01" in ranked.explain()


def test_of_a_trial_in_two_states_the_newer_one_counts(tmp_path):
    older = class_trial(tmp_path, A, [{"acc": 0.9}])
    shutil.rmtree(next(path for path in tmp_path.iterdir() if path.is_dir()))
    newer = class_trial(tmp_path, A, [{"acc": 0.5}])
    for day, entry in enumerate([older, newer], 1):
        write_state(tmp_path, entry, time=f"2026-01-0{day}_00-00-00")
    class_trial(tmp_path, B, [{"acc": 0.1}])  # which neither knows
    assert [record.value for record in tc.rank_checkpoints(tmp_path, "acc")] == [0.5]


def named_by_ray_2_7(folder, names):
    """Let a class's results name checkpoints; Ray 2.7 asks the result before if one is due."""
    lines = (folder / "result.json").read_text().splitlines()
    named = zip(map(json.loads, lines), names, strict=True)
    told = [json.dumps({**line, "checkpoint_dir_name": name}) for line, name in named]
    (folder / "result.json").write_text("\n".join(told) + "\n")


def test_the_result_in_which_ray_2_7_names_a_classs_checkpoint_is_not_that_of_its_moment(tmp_path):
    entry = class_trial(tmp_path, A, [{"acc": acc} for acc in (0.1, 0.2)])
    write_state(tmp_path, entry)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    lines = [json.dumps({"training_iteration": n, "acc": n}) + "\n" for n in (1, 2, 3, 4)]
    (folder / "result.json").write_text("".join(lines))
    named_by_ray_2_7(folder, ["checkpoint_000000", None, "checkpoint_000001", None])
    assert [record.value for record in tc.rank_checkpoints(tmp_path, "acc")] == [0.2, 0.1]
    next(tmp_path.glob("experiment_state-*")).unlink()
    with pytest.raises(NoCheckpointError, match="recorded nowhere"):
        tc.best_checkpoint(tmp_path, "acc")


def test_where_every_result_saved_the_names_of_ray_2_7_are_right(tmp_path):
    class_trial(tmp_path, A, [{"acc": 0.1}, {"acc": 0.2}])
    (folder,) = tmp_path.iterdir()
    named_by_ray_2_7(folder, ["checkpoint_000000", "checkpoint_000001"])
    assert names(tc.rank_checkpoints(tmp_path, "acc")) == [(A, 2), (A, 1)]


def test_the_last_checkpoint_counts_though_tune_does_not_list_it_among_the_best(tmp_path):
    from ray.train import Checkpoint, CheckpointConfig
    from ray.train._internal.checkpoint_manager import _CheckpointManager
    from ray.train._internal.session import _TrainingResult

    folder = function_trial(tmp_path, A, [{}], checkpoints=False)
    manager = _CheckpointManager(CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="acc"))
    for number, acc in enumerate([0.9, 0.2]):
        path = folder / f"checkpoint_{number:06}"
        plain_checkpoint(path)
        result = _TrainingResult(Checkpoint(str(path)), {"acc": acc, "loss": 1 - acc})
        manager.register_checkpoint(result)
    blob = {"checkpoint_manager": pickle.dumps(manager).hex()}
    write_state(tmp_path, [json.dumps({"relative_logdir": folder.name}), json.dumps(blob)])
    assert [r.value for r in tc.rank_checkpoints(tmp_path, "loss")] == pytest.approx([0.8, 0.1])


def test_what_a_trial_took_over_from_another_is_not_its_own(tmp_path):
    from ray.train import Checkpoint
    from ray.train._internal.checkpoint_manager import _CheckpointManager
    from ray.train._internal.session import _TrainingResult

    donor = class_trial(tmp_path, A, [{"acc": 0.5}])
    folder = function_trial(tmp_path, B, [{"acc": 0.1}], checkpoints=False)
    manager = _CheckpointManager(None)
    taken = Checkpoint(
        str(tmp_path / json.loads(donor[0])["relative_logdir"] / "checkpoint_000000")
    )
    manager._latest_checkpoint_result = _TrainingResult(taken, {"acc": 0.7})
    entry = [
        json.dumps({"relative_logdir": folder.name}),
        json.dumps({"checkpoint_manager": pickle.dumps(manager).hex()}),
    ]
    write_state(tmp_path, donor, entry)
    assert [(r.trial_id, r.value) for r in tc.rank_checkpoints(tmp_path, "acc")] == [(A, 0.5)]


def test_the_config_is_that_of_the_moment(tmp_path):
    results = [{"acc": 0.9, "config": {"lr": 1}}, {"acc": 0.5, "config": {"lr": 8}}]
    function_trial(tmp_path, A, results, config={"lr": 8})
    assert tc.best_checkpoint(tmp_path, "acc").config == {"lr": 1}


def test_a_config_with_code_in_it_comes_as_tune_wrote_it_down(tmp_path):
    state = class_trial(tmp_path, A, [{"acc": 0.9, "config": {"lr": 1, "f": "text"}}])
    manager = json.loads(state[1])["checkpoint_manager"]["value"]
    blob = pickle.loads(bytes.fromhex(manager), file="x")
    blob._checkpoint_results[0].metrics["config"]["f"] = lambda x: x
    state[1] = json.dumps({"checkpoint_manager": pickle.dumps(blob).hex()})
    write_state(tmp_path, state)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.config == {"lr": 1}
    assert isinstance(best.metrics["config"]["f"], pickle.Opaque)


def test_a_train_run_inside_a_trial(tmp_path):
    experiment = tmp_path / "here" / "sweep"
    folder = function_trial(experiment, A, [{}, {}], checkpoints=False)
    where = tmp_path / "there"
    lines = [
        {"acc": 0.9, "checkpoint_path": "/gone/sweep/run/checkpoint_1", "training_iteration": 1},
        {"acc": 0.8, "checkpoint_path": "/old/run/checkpoint_2", "training_iteration": 2},
        {"acc": 0.7, "checkpoint_path": f"{where}/checkpoint_3", "training_iteration": 3},
        {"acc": 0.6, "checkpoint_path": "/gone/for/good", "training_iteration": 4},
    ]
    (folder / "result.json").write_text("\n".join(map(json.dumps, lines)))
    homes = [experiment / "run/checkpoint_1", tmp_path / "here/run/checkpoint_2"]
    homes.append(where / "checkpoint_3")
    for home in homes:
        plain_checkpoint(home)
    ranked = tc.rank_checkpoints(experiment, "acc")
    assert [record.path for record in ranked] == list(map(str, homes))
    assert ranked[0].trial_id == A


def test_conversions_beside_are_told_and_stand_in_for_what_is_gone(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.9}, {"acc": 0.8}])
    for number in range(2):
        copied = folder / f"msgpack/checkpoint_{number:06}"
        own_checkpoint(copied, {"acc": 0.9 - number / 10}, number + 1)
    shutil.rmtree(folder / "checkpoint_000000")
    gone, there = tc.rank_checkpoints(tmp_path, "acc")
    assert gone.path == gone.converted == str(folder / "msgpack/checkpoint_000000")
    assert there.path == str(folder / "checkpoint_000001")
    assert there.converted == str(folder / "msgpack/checkpoint_000001")
