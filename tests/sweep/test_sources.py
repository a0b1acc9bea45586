"""Where a sweep may be: results in memory, folders of every kind, and what a second look reads."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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
from tune_ckpt.errors import InvalidArgumentError, NoCheckpointError
from tune_ckpt.sweep import experiment_state
from tune_ckpt.tree.storage.local import LocalStore

# ------------------------------------------------------------------------------ a single trial


def test_a_single_trials_folder(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    function_trial(tmp_path, B, [{"acc": 0.9}])
    for source in (folder, f"{folder}/", f"file://{folder}"):
        (record,) = tc.rank_checkpoints(source, "acc")
        assert (record.trial_id, record.path) == (A, str(folder / "checkpoint_000000"))


def test_a_single_trial_of_a_class_is_explained_by_the_state_above_it(tmp_path):
    write_state(tmp_path, class_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.7}]))
    (folder,) = tmp_path.glob("train_*")
    assert names(tc.rank_checkpoints(folder, "acc")) == [(A, 2), (A, 1)]


def test_a_relative_trials_folder(tmp_path, monkeypatch):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    monkeypatch.chdir(folder)
    assert tc.best_checkpoint(".", "acc").path == str(folder / "checkpoint_000000")


def test_a_trials_folder_on_another_filesystem(tmp_path):
    from pyarrow import fs

    folder = function_trial(tmp_path / "sweep", A, [{"acc": 0.5}])
    filesystem = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    best = tc.best_checkpoint(f"sweep/{folder.name}", "acc", filesystem=filesystem)
    assert best.path == f"sweep/{folder.name}/checkpoint_000000"
    assert best.filesystem is filesystem


# ---------------------------------------------------------------------------- a run of Ray Train


def _train_run(folder, values, **more):
    results = []
    for number, value in enumerate(values):
        name = f"checkpoint_2026-01-01_00-00-00.{number:06}"
        plain_checkpoint(folder / name)
        results.append({"version": 0, "checkpoint_dir_name": name, "metrics": {"loss": value}})
    snapshot = {
        "ray_version": "2.60.0",
        "checkpoint_results": results,
        "latest_checkpoint_result": results[-1] if results else None,
        "pending_training_results": [],
        **more,
    }
    (folder / "checkpoint_manager_snapshot.json").write_text(json.dumps(snapshot))
    return results


def test_a_train_runs_folder(tmp_path):
    _train_run(tmp_path / "run", [0.5, math.nan, 0.25])
    best = tc.best_checkpoint(tmp_path / "run", "loss", "min")
    assert (best.trial_id, best.iteration, best.value) == ("run", None, 0.25)
    assert best.path.endswith("000002")
    assert tc.rank_checkpoints(tmp_path / "run", "loss").title == f"loss (max) in {tmp_path}/run"


def test_the_number_of_its_report_is_a_train_runs_iteration(tmp_path):
    _train_run(tmp_path / "run", [0.5, 0.25], checkpoint_report_indices=[1, 4])
    ranked = tc.rank_checkpoints(tmp_path / "run", "loss", "min")
    assert [record.iteration for record in ranked] == [5, 2]


@pytest.mark.parametrize("scope", [None, "last"])
def test_that_a_train_run_has_no_results_of_tunes_is_nothing_to_tell(tmp_path, scope):
    _train_run(tmp_path / "run", [0.5, 0.25])
    sweep = tc.Sweep.open(tmp_path / "run")
    best = tc.best_checkpoint(sweep, "loss", "min", scope=scope)
    assert "result.json" not in best.explain()
    assert sweep._opened.notes.lines == ()


def test_several_train_runs_are_ranked_together(tmp_path):
    _train_run(tmp_path / "one", [0.5])
    _train_run(tmp_path / "two", [0.25])
    assert names(tc.rank_checkpoints(tmp_path, "loss", "min")) == [("two", None), ("one", None)]


@pytest.mark.parametrize(
    "more",
    [
        {"checkpoint_results": None},
        {"checkpoint_results": [None, {}, {"checkpoint_dir_name": 3, "metrics": 4}]},
        {"checkpoint_results": {}, "pending_training_results": 7},
        {"checkpoint_report_indices": ["x", None, 3]},
        {"checkpoint_report_indices": 3},
    ],
)
def test_a_train_runs_snapshot_may_hold_anything(tmp_path, more):
    _train_run(tmp_path / "run", [0.5, 0.25], **more)
    assert tc.best_checkpoint(tmp_path / "run", "loss", "min").value == 0.25


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_train_runs_snapshot_that_is_cut_is_told(tmp_path, content):
    _train_run(tmp_path / "run", [0.5])
    (tmp_path / "run/checkpoint_manager_snapshot.json").write_text(content)
    with pytest.raises(NoCheckpointError, match="recorded nowhere"):
        tc.best_checkpoint(tmp_path / "run", "loss", "min")


# -------------------------------------------------------------------------------- without Ray

ALONE = """
import builtins, sys
real = builtins.__import__
def guarded(name, *args, **kwargs):
    assert name.partition(".")[0] not in {"ray", "cloudpickle", "torch"}, name
    return real(name, *args, **kwargs)
builtins.__import__ = guarded
import pickle
def never(*args, **kwargs):
    raise AssertionError("it was unpickled")
pickle.loads = pickle.load = never
import tune_ckpt as tc
for source in sys.argv[1:]:
    table = tc.rank_checkpoints(source, "acc")
    print(len(table), table[0].value, len(table.explain()) > 0, len(str(table)) > 0)
"""


def test_a_folder_needs_neither_ray_nor_pickle(tmp_path):
    function_trial(tmp_path / "a", A, [{"acc": 0.5}])
    write_state(tmp_path / "b", class_trial(tmp_path / "b", A, [{"acc": 0.75}]))
    (trial,) = (tmp_path / "a").glob("train_*")
    sources = [str(tmp_path / "a"), str(tmp_path / "b"), str(trial)]
    run = subprocess.run(
        [sys.executable, "-c", ALONE, *sources], capture_output=True, text=True, check=False
    )
    told = ["1 0.5 True True", "1 0.75 True True", "1 0.5 True True"]
    assert run.stdout.splitlines() == told, run.stderr


# ------------------------------------------------------------------------- damaged and unfinished


def test_trials_without_results_and_late_metrics_are_survived_and_told(tmp_path):
    function_trial(tmp_path, A, [{"loss": 1}, {"loss": 1, "acc": 0.5}])
    (tmp_path / "train_never_started").mkdir()
    (tmp_path / "train_never_started/params.json").write_text("{")
    half = function_trial(tmp_path, B, [{"acc": 0.9}])
    (half / "result.json").write_text("")
    (half / "params.json").write_text('{"lr"')
    best = tc.best_checkpoint(tmp_path, "acc")
    assert (best.trial_id, best.value) == (A, 0.5)
    assert f"trial {B}: the metrics of checkpoint_000000 are recorded nowhere" in best.passed_over


def test_infinite_and_nan_tokens_are_read_as_tune_writes_them(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 1.0}, {"acc": 2.0}, {"acc": 3.0}])
    text = (folder / "result.json").read_text()
    tokens = text.replace("3.0", "NaN").replace("2.0", "Infinity").replace("1.0", "-Infinity")
    tokens = tokens.replace('"training_iteration": 2', '"training_iteration": Infinity')
    (folder / "result.json").write_text(tokens)
    ranked = tc.rank_checkpoints(tmp_path, "acc")
    assert [(r.value, r.iteration) for r in ranked] == [(math.inf, None), (-math.inf, 1)]


def test_a_checkpoint_that_was_written_just_before_the_kill_counts(tmp_path):
    function_trial(tmp_path, B, [{"acc": 0.7}])
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    own_checkpoint(folder / "checkpoint_000001", {"acc": 0.9}, 2)  # its result was never logged
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.9


def test_a_result_without_a_newline_counts_though_it_may_be_cut(tmp_path):
    state = class_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.9}])
    function_trial(tmp_path, B, [{"acc": 0.7}])
    write_state(tmp_path, state)
    (results,) = tmp_path.glob(f"*{A}*/result.json")
    results.write_bytes(results.read_bytes()[:-20])
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.9


# ------------------------------------------------------------------------- large experiment states


@pytest.mark.parametrize("indent", [None, 2])
def test_a_large_state_is_read_by_entries(tmp_path, monkeypatch, indent):
    states = [
        class_trial(tmp_path, f"aaaaa_{n:05}", [{"acc": n / 10}, {"acc": 0.05}]) for n in range(5)
    ]
    state = json.dumps({"trial_data": states, "runner_data": {"a": "b"}}, indent=indent)
    (tmp_path / "experiment_state-2026-01-01_00-00-00.json").write_text(state)
    small = [(r.trial_id, r.value) for r in tc.rank_checkpoints(tmp_path, "acc")]
    monkeypatch.setattr(experiment_state, "PARSED_NBYTES", 0)
    for chunk in (2**24, 100):
        monkeypatch.setattr(experiment_state, "_CHUNK_NBYTES", chunk)
        assert [(r.trial_id, r.value) for r in tc.rank_checkpoints(tmp_path, "acc")] == small
    assert len(small) == 10


@pytest.mark.parametrize("case", ["ray2.3.1-py3.8-tune-class", "ray2.60.0-py3.11-tune-class"])
def test_large_states_of_real_sweeps(corpus, case, monkeypatch):
    sweep = corpus / case / "checkpoint/numpy_exp"
    small = [(r.trial_id, r.value) for r in tc.rank_checkpoints(sweep, "loss")]
    monkeypatch.setattr(experiment_state, "PARSED_NBYTES", 0)
    assert [(r.trial_id, r.value) for r in tc.rank_checkpoints(sweep, "loss")] == small


def test_a_large_state_that_is_cut_gives_what_is_whole(tmp_path, monkeypatch):
    write_state(tmp_path, *(class_trial(tmp_path, t, [{"acc": 0.5}]) for t in (A, B)))
    monkeypatch.setattr(experiment_state, "PARSED_NBYTES", 0)
    (path,) = tmp_path.glob("experiment_state-*")
    path.write_bytes(path.read_bytes()[:-200])
    ranked = tc.rank_checkpoints(tmp_path, "acc")
    assert names(ranked) == [(A, 1)]
    assert "experiment_state" in ranked.explain()


# --------------------------------------------------------------------------------- second looks


def test_a_second_look_finds_what_is_new_and_reads_nothing_else(tmp_path, monkeypatch):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    sweep = tc.Sweep.open(tmp_path)
    assert tc.best_checkpoint(sweep, "acc").value == 0.5
    read = _counted(monkeypatch)
    assert tc.best_checkpoint(sweep, "acc").value == 0.5
    assert read["result.json"] == 0
    saved = {"checkpoint_dir_name": "checkpoint_000001", "should_checkpoint": True}
    line = {"acc": 0.9, "training_iteration": 2, **saved}
    with (folder / "result.json").open("a") as file:
        file.write(json.dumps(line) + "\n")
    plain_checkpoint(folder / "checkpoint_000001")
    function_trial(tmp_path, B, [{"acc": 0.7}])
    assert [r.value for r in tc.rank_checkpoints(sweep, "acc")] == [0.9, 0.7, 0.5]
    assert read["result.json"] == 2 * (len(json.dumps(line)) + 1 + _size(tmp_path, B))
    shutil.rmtree(folder)
    assert [r.value for r in tc.rank_checkpoints(sweep, "acc")] == [0.7]


def test_what_checkpoints_say_themselves_is_read_again_only_where_it_was_written_again(
    tmp_path, monkeypatch
):
    folder = function_trial(tmp_path, A, [{"acc": 0.1}])
    for number in (1, 2):
        own_checkpoint(folder / f"checkpoint_{number:06}", {"acc": number / 10}, number + 1)
    sweep = tc.Sweep.open(tmp_path)
    read = _counted(monkeypatch)
    for acc in (0.2, 0.2, 0.7):
        if acc == 0.7:
            own_checkpoint(folder / "checkpoint_000002", {"acc": acc}, 3)
        before = read["metadata.json"]
        ranked = tc.rank_checkpoints(sweep, "acc", verify=False)
        assert ranked[0].value == acc
    newest = (folder / "checkpoint_000002/metadata.json").stat().st_size
    # For the bounds of both, of which no result tells, and for itself.
    assert read["metadata.json"] - before == 3 * newest


def test_the_state_of_all_trials_is_looked_for_once_a_look(tmp_path, monkeypatch):
    entries = [class_trial(tmp_path, f"aaaaa_{n:05}", [{"acc": n}]) for n in range(5)]
    write_state(tmp_path, *entries)
    listed, real = [], LocalStore.names
    monkeypatch.setattr(LocalStore, "names", lambda s: listed.append(s.location) or real(s))
    sweep = tc.Sweep.open(tmp_path)
    for _ in range(2):
        listed.clear()
        assert len(tc.rank_checkpoints(sweep, "acc")) == 5
        assert listed.count(str(tmp_path)) == 2  # the trials' folders, and the states


def test_a_config_that_comes_later_is_found_at_the_next_look(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}], config={"lr": 3})
    text = (folder / "params.json").read_text()
    (folder / "params.json").unlink()  # the worker's checkpoint was there first
    sweep, configs = tc.Sweep.open(tmp_path), []
    for content in (None, text[:3], text):
        if content:
            (folder / "params.json").write_text(content)
        configs.append(tc.best_checkpoint(sweep, "acc").config)
    assert configs == [{}, {}, {"lr": 3}]


def _size(experiment, trial):
    return sum(p.stat().st_size for p in experiment.glob(f"*{trial}*/result.json"))


def _counted(monkeypatch):
    from collections import Counter

    from tune_ckpt.tree.storage import local_files

    read, real = Counter(), local_files.LocalSource.read_into

    def counted(self, offset, *buffers):
        read[Path(self.name).name] += sum(buffer.nbytes for buffer in buffers)
        real(self, offset, *buffers)

    monkeypatch.setattr(local_files.LocalSource, "read_into", counted)
    return read


def test_most_trials_are_never_parsed(tmp_path, monkeypatch):
    for number in range(20):
        function_trial(tmp_path, f"aaaaa_{number:05}", [{"acc": number}, {"acc": number / 2}])
    parsed = []
    real = json.loads
    monkeypatch.setattr(json, "loads", lambda data: parsed.append(1) or real(data))
    assert tc.best_checkpoint(tmp_path, "acc").value == 19
    assert len(parsed) < 10


# ----------------------------------------------------------------------------- objects of Ray's


def test_a_result_stands_for_its_trial(tmp_path):
    folder = function_trial(tmp_path, A, [{}], checkpoints=False)
    function_trial(tmp_path, B, [{"acc": 0.9}])
    plain_checkpoint(folder / "checkpoint_000000")
    known = SimpleNamespace(path=str(folder / "checkpoint_000000"))
    result = SimpleNamespace(
        path=str(folder), filesystem=None, best_checkpoints=[(known, {"acc": 1})]
    )
    assert names(tc.rank_checkpoints(result, "acc")) == [(A, None)]
    result.path = None
    with pytest.raises(InvalidArgumentError, match=r"experiment=.*was started"):
        tc.best_checkpoint(result, "acc")
