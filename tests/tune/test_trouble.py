"""Storage that fails the callback in every way: the sweep is as without it, the report tells."""

import json
import logging
import os
import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray import tune

import tune_ckpt as tc
from tests.tune.sweeps import rows, sweep
from tests.tune.trainables import Walker

pytestmark = pytest.mark.slow
ITERATIONS = 4


def _rows(results):
    (path,) = Path(results.experiment_path).glob("*/result.json")
    return rows(path)


def _assert_as_without_callback(results, cls=Walker):
    assert not results.errors
    walker = cls({"seed": 0, **results[0].config})
    expected = [walker.train()["walk"]["at"] for _ in range(ITERATIONS)]
    assert [row["walk"]["at"] for row in _rows(results)] == expected
    assert results[0].checkpoint.path.endswith("checkpoint_000003")
    for checkpoint, _ in results[0].best_checkpoints:
        assert tc.verify(checkpoint).ok
    assert len(results[0].best_checkpoints) == ITERATIONS


def _failed(results):
    report = json.loads((Path(results.experiment_path) / "tune_ckpt_report.json").read_text())
    rows = [row for row in report["outcomes"] if row["status"] == "failed"]
    assert sum(report["summary"]["causes"].values()) == len(rows)
    return rows


REPORT = "tune_ckpt_report.json"


class Troubled(LocalFileSystem):
    """Keeps Tune's files, and makes trouble where others are to be written beside them."""

    def info(self, path, **options):
        self._check(os.fspath(path))
        return super().info(path, **options)

    def open(self, path, *args, **options):
        self._check(os.fspath(path))
        return super().open(path, *args, **options)

    def _check(self, path):
        if any(name in path for name in ("/msgpack/", "/best/", REPORT)):
            self.trouble(path)


class Vanishing(Troubled):
    """It loses all but the first checkpoint's, and the report."""

    def trouble(self, path):
        if "checkpoint_000000" not in path and REPORT not in path:
            raise OSError(5, "Input/output error", path)


def test_storage_that_vanishes_in_the_middle_of_a_sweep(tmp_path, ray_session, caplog):
    callback = tc.CheckpointCallback("all", metric="score", pin_best=True, verify=True)
    disk = PyFileSystem(FSSpecHandler(Vanishing()))
    with caplog.at_level(logging.WARNING, "tune_ckpt"):
        results = sweep(tmp_path, callback, storage_filesystem=disk)
    _assert_as_without_callback(results)
    rows = _failed(results)
    converted = {row["checkpoint"][-6:] for row in rows if row["action"] == "convert"}
    assert converted == {"000001", "000002", "000003"}
    assert {row["action"] for row in rows} == {"convert", "pin"}
    assert {row["cause"] for row in rows} == {"StorageError"}
    assert "Input/output error" in rows[0]["detail"]
    assert "Input/output error" in caplog.text


class InTheWay(tune.Callback):
    """Puts files where folders are wanted, and a folder where a file is: nothing can be written."""

    def on_trial_start(self, iteration, trials, trial, **info):
        Path(trial.storage.trial_fs_path, "msgpack").touch()
        Path(trial.storage.experiment_fs_path, "best").touch()
        Path(trial.storage.experiment_fs_path, "tune_ckpt_report.json").mkdir()


def test_folders_in_which_nothing_can_be_written(tmp_path, ray_session, caplog, capsys):
    callback = tc.CheckpointCallback("all", metric="score", pin_best=True)
    with caplog.at_level(logging.WARNING, "tune_ckpt"):
        results = sweep(tmp_path, InTheWay(), callback)
    _assert_as_without_callback(results)
    told = {(o.action, o.status, o.cause) for o in callback.outcomes}
    assert {("convert", "failed", "StorageError"), ("pin", "failed", "StorageError")} <= told
    assert {status for _, status, _ in told} == {"failed"}
    assert not any("Traceback" in o.detail for o in callback.outcomes)
    assert "on_experiment_end failed; the sweep goes on" in caplog.text  # for want of the report
    assert "convert: failed" in capsys.readouterr().out


class Heavy(Walker):
    """Its checkpoints are of more than a MiB."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {**super().get_state(), "ballast": np.ones(2**20, np.uint8)}


@pytest.fixture
def small_disk(tmp_path):
    """A disk of ten MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


class Filler(tune.Callback):
    """Leaves room for one and a half checkpoints, when the sweep is all but over."""

    def __init__(self, disk):
        self.disk = disk

    def on_trial_complete(self, iteration, trials, trial, **info):
        disk = os.statvfs(self.disk)
        Path(self.disk, "filler").write_bytes(bytes(disk.f_bavail * disk.f_frsize - 3 * 2**19))


def test_a_disk_that_is_full(small_disk, ray_session):
    callback = tc.CheckpointCallback("at end")
    results = sweep(small_disk, Filler(str(small_disk)), callback, cls=Heavy)
    _assert_as_without_callback(results, Heavy)
    rows = _failed(results)
    assert len(rows) == 3
    assert all("No space left" in row["detail"] for row in rows)
    (copy,) = Path(results[0].path).glob("msgpack/checkpoint_*")
    assert tc.verify(copy).ok


class Hanging(Troubled):
    """It never answers."""

    def trouble(self, path):
        threading.Event().wait()


def test_storage_that_hangs_holds_up_the_end_for_no_longer_than_was_said(
    tmp_path, ray_session, caplog
):
    callback = tc.CheckpointCallback(
        "all", metric="score", pin_best=True, verify=True, drain_timeout_secs=0.5
    )
    disk = PyFileSystem(FSSpecHandler(Hanging()))
    _assert_as_without_callback(sweep(tmp_path, callback, storage_filesystem=disk))
    lost = [outcome for outcome in callback.outcomes if outcome.cause == "timeout"]
    counts = [int(re.search(r": (\d+) not done", outcome.detail)[1]) for outcome in lost]
    assert sum(counts) > ITERATIONS  # what was to be done at the end is told as well
    assert caplog.text.count("not done in time") == len(lost) <= 3
    assert "no answer for 1 s" in caplog.text  # of the report
