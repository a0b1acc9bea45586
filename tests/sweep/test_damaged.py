"""Sweeps that are damaged, half-written or hostile: what is whole counts, the rest is told."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

import tune_ckpt as tc
from tests.sweep.folders import (
    A,
    B,
    class_trial,
    function_trial,
    own_checkpoint,
    plain_checkpoint,
    write_state,
)
from tune_ckpt.errors import CorruptDataError, NoCheckpointError
from tune_ckpt.sweep import experiment_state
from tune_ckpt.sweep.experiment_state import ExperimentState
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.tree.storage.store import LocalStore


def test_lines_cut_short_or_broken_are_survived_and_told(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.9}, {"acc": 0.7}])
    lines = (folder / "result.json").read_bytes().splitlines(keepends=True)
    (folder / "result.json").write_bytes(lines[0] + b"{\xff" + lines[1] + lines[2][:-3])
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.5
    told = "\n".join(best.passed_over)
    assert told.count("result.json cannot be read") == 2
    assert "the metrics of checkpoint_000001, checkpoint_000002 are recorded nowhere" in told


def test_every_cut_of_the_results_gives_what_is_whole(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.9}])
    data = (folder / "result.json").read_bytes()
    ends = [end for end, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(ends[0], len(data)):
        (folder / "result.json").write_bytes(data[:cut])
        assert tc.best_checkpoint(tmp_path, "acc").value == (0.9 if cut >= ends[1] else 0.5)


@pytest.mark.parametrize("content", [b"", b'{"trial_data": [["{', b"[]", b"null", b"\xff"])
def test_a_damaged_newest_state_falls_back_to_the_older(tmp_path, content):
    write_state(tmp_path, class_trial(tmp_path, A, [{"acc": 0.5}]))
    newest = tmp_path / "experiment_state-2026-01-02_00-00-00.json"
    newest.write_bytes(content)
    sweep = tc.Sweep.open(tmp_path)
    told = [tc.best_checkpoint(sweep, "acc").passed_over for _ in range(2)]
    assert told[0] == told[1]
    assert f"{newest} cannot be read" in "".join(told[0])


def test_a_damaged_state_is_read_once_for_all_trials(tmp_path, monkeypatch):
    every = [f"aaaaa_{number:05}" for number in range(5)]
    write_state(tmp_path, *(class_trial(tmp_path, trial, [{"acc": 0.5}]) for trial in every))
    newest = tmp_path / "experiment_state-2026-01-02_00-00-00.json"
    newest.write_text("{")
    opened, real = [], LocalStore.open
    monkeypatch.setattr(LocalStore, "open", lambda s, name: opened.append(name) or real(s, name))
    assert len(tc.rank_checkpoints(tmp_path, "acc")) == 5
    assert opened.count(newest.name) == 2  # how long it is, and what it holds


CYCLE = b"\x80\x04]\x94h\x00a.".hex()  # a list that contains itself


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "{",
        ["{}", "{}"],
        ["[]", "{}"],
        [json.dumps({"checkpoint_manager": "zz"}), "{}"],
        [json.dumps({"checkpoint_manager": "80"}), "{}"],
        [json.dumps({"checkpoint_manager": 3}), "{}"],
        [json.dumps({"checkpoint_manager": {"value": None}}), "{}"],
        [json.dumps({"checkpoint_manager": CYCLE}), "{}"],
    ],
)
def test_a_damaged_trial_in_the_state_leaves_the_others(tmp_path, entry):
    good = class_trial(tmp_path, A, [{"acc": 0.5}])
    write_state(tmp_path, entry, good)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.5
    assert "experiment_state-2026-01-01_00-00-00.json cannot be read" in best.passed_over[0]


def test_no_state_and_no_metadata_is_an_error_that_says_so(tmp_path):
    class_trial(tmp_path, A, [{"acc": 0.5}])
    with pytest.raises(NoCheckpointError, match="checkpoint_000000 are recorded nowhere"):
        tc.best_checkpoint(tmp_path, "acc")


def test_of_many_unknown_checkpoints_a_line_is_told_and_where_their_results_may_be(tmp_path):
    class_trial(tmp_path, A, [{"acc": 0.5}] * 9)
    (log,) = tmp_path.glob("*/result.json")
    log.rename(tmp_path / "elsewhere")
    with pytest.raises(NoCheckpointError) as none:
        tc.best_checkpoint(tmp_path, "acc")
    (told,) = none.value.passed_over
    assert "checkpoint_000003, and 5 more are recorded nowhere; its result.json is not here" in told
    assert "copy it, and the sweep's experiment_state-*.json" in told


@pytest.mark.parametrize("parsed_nbytes", [2**25, 0])
def test_checkpoints_newer_than_the_results_are_ranked_where_they_belong(
    tmp_path, monkeypatch, parsed_nbytes
):
    monkeypatch.setattr(experiment_state, "PARSED_NBYTES", parsed_nbytes)
    facts, run = class_trial(tmp_path, A, [{"acc": 0.1}, {"acc": 0.9}, {"acc": 0.2}])
    run = json.dumps({"last_result": {"training_iteration": 3}, **json.loads(run)})
    write_state(tmp_path, [facts, run])
    (log,) = tmp_path.glob("*/result.json")
    log.write_text(log.read_text().partition("\n")[0] + "\n")
    function_trial(tmp_path, B, [{"acc": 0.5}])
    assert [record.value for record in tc.rank_checkpoints(tmp_path, "acc")] == [0.9, 0.5, 0.2, 0.1]
    scores = {s: tc.best_checkpoint(tmp_path, "acc", "min", scope=s).score for s in ("last", "avg")}
    assert scores == pytest.approx({"last": 0.2, "avg": 0.4})


def test_so_are_those_that_only_tell_it_themselves(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.1}])
    for number, acc in enumerate([0.9, 0.2], 1):
        own_checkpoint(folder / f"checkpoint_{number:06}", {"acc": acc}, number + 1)
    function_trial(tmp_path, B, [{"acc": 0.5}])
    assert [record.value for record in tc.rank_checkpoints(tmp_path, "acc")] == [0.9, 0.5, 0.2, 0.1]


@pytest.mark.parametrize(
    ("last", "beyond"),
    [
        ({"training_iteration": 3}, False),
        ({"training_iteration": 4}, True),
        ({"training_iteration": 3, "timestamp": 1}, True),
        ({}, True),
        (None, True),
    ],
)
@pytest.mark.parametrize("parsed_nbytes", [2**25, 0])
def test_whether_the_state_is_beyond_the_results(
    tmp_path, monkeypatch, last, beyond, parsed_nbytes
):
    monkeypatch.setattr(experiment_state, "PARSED_NBYTES", parsed_nbytes)
    write_state(tmp_path, [json.dumps({"relative_logdir": "a"}), json.dumps({"last_result": last})])
    state = ExperimentState(LocalStore(tmp_path), Notes())
    assert state.is_beyond("a", (-1, 3)) is beyond
    assert not state.is_beyond("unknown", (-1, 3))


def test_checkpoints_newer_than_the_state_are_told(tmp_path):
    state = class_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.6}])
    write_state(tmp_path, state)
    folder = tmp_path / json.loads(state[0])["relative_logdir"]
    plain_checkpoint(folder / "checkpoint_000002")
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.6
    assert "the metrics of checkpoint_000002 are recorded nowhere" in best.passed_over[0]


def test_nothing_in_a_folder_is_unpickled(tmp_path):
    state = class_trial(tmp_path, A, [{"acc": 0.5}])
    marker = tmp_path / "marker"
    evil = b"cbuiltins\nexec\n(V" + f"open({str(marker)!r}, 'w')".encode() + b"\ntR."
    bad = [json.dumps({"checkpoint_manager": evil.hex()}), "{}"]
    write_state(tmp_path, bad, state)
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.5
    assert not marker.exists()


def test_other_folders_and_files_in_a_sweep_do_no_harm(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    (tmp_path / "driver_artifacts").mkdir()
    (tmp_path / "checkpoint_x").write_text("a file")
    (folder / "checkpoint_note").write_text("a file")
    (folder / "checkpoint_000000" / "metadata.json").write_text('{"metrics": [], "trial": 1}')
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.5


@pytest.mark.parametrize("below", ["", "checkpoint_000001", "msgpack"])
def test_a_folder_that_cannot_be_read_leaves_the_others(tmp_path, monkeypatch, below):
    denied = function_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.9}]) / below
    (denied if below == "msgpack" else tmp_path).mkdir(exist_ok=True)
    function_trial(tmp_path, B, [{"acc": 0.4}])
    scandir = os.scandir

    def listed(path):
        if Path(path) == denied:
            raise PermissionError(errno.EACCES, "Permission denied")  # root has all permissions
        return scandir(path)

    monkeypatch.setattr("os.scandir", listed)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == {"": 0.4, "checkpoint_000001": 0.5, "msgpack": 0.9}[below]
    assert "cannot be read: Permission denied" in best.explain()


def test_a_pipe_is_not_waited_for(tmp_path):
    function_trial(tmp_path, A, [{"acc": 0.5}])
    folder = function_trial(tmp_path, B, [{"acc": 0.4}])
    for name in ("result.json", "params.json", "checkpoint_000000/weights.txt"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    assert [record.value for record in tc.rank_checkpoints(tmp_path, "acc")] == [0.5]


def test_a_link_to_itself_does_no_harm(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    for place in (tmp_path, folder):
        (place / "checkpoint_000007").symlink_to("checkpoint_000007")
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.5


@pytest.mark.parametrize(
    "told",
    [
        {"checkpoint": 7},
        {"value": "x"},
        {"folder": "../.."},
        {"folder": ""},
        {"metrics": []},
        [],
        "[" * 99_999,
    ],
)
def test_what_is_no_best_json_is_passed_over(tmp_path, told):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    whole = {"metric": "acc", "mode": "max", "value": 9, "trial_id": A, "iteration": 3}
    whole |= {"checkpoint": f"{folder.name}/checkpoint_000009", "folder": "0", "metrics": {}}
    (tmp_path / "best").mkdir()
    text = json.dumps(whole | told if isinstance(told, dict) else told)
    (tmp_path / "best/best.json").write_text(text)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.5
    assert "best/best.json cannot be read" in best.passed_over[0]
    with pytest.raises(CorruptDataError):
        tc.pinned_checkpoint(tmp_path)
