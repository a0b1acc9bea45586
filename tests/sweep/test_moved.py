"""Sweeps that are elsewhere: moved, on another filesystem, or newer in memory than in storage."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tune_ckpt as tc
from tests.sweep.folders import (
    A,
    class_trial,
    function_trial,
    own_checkpoint,
    plain_checkpoint,
    write_state,
)
from tune_ckpt.sweep.paths import parent_of, places_of


def test_a_moved_sweep(tmp_path):
    state = class_trial(tmp_path / "old", A, [{"acc": 0.5}])
    write_state(tmp_path / "old", state)
    (tmp_path / "old").rename(tmp_path / "new")
    best = tc.best_checkpoint(tmp_path / "new", "acc")
    assert Path(best.path).is_relative_to(tmp_path / "new")


def test_a_relative_path_and_a_file_uri(tmp_path, monkeypatch):
    folder = function_trial(tmp_path / "sweep", A, [{"acc": 0.5}])
    monkeypatch.chdir(tmp_path)
    for source in ("sweep", Path("sweep"), "sweep/", f"file://{tmp_path}/sweep"):
        assert tc.best_checkpoint(source, "acc").path == str(folder / "checkpoint_000000")


def test_another_filesystem(tmp_path):
    from pyarrow import fs

    folder = function_trial(tmp_path / "sweep", A, [{"acc": 0.5}])
    own_checkpoint(folder / "checkpoint_000001", {"acc": 0.7}, 2)
    filesystem = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    best = tc.best_checkpoint("sweep", "acc", filesystem=filesystem)
    assert best.path == f"sweep/{folder.name}/checkpoint_000001"
    assert best.filesystem is filesystem
    assert tc.verify(best).ok
    np.testing.assert_array_equal(best.load()["w"], np.ones(3))
    assert tc.verify(best.export(tmp_path / "out")).ok
    assert best.checkpoint.path == best.path


def test_the_options_of_a_uri_stay_at_its_end():
    from tune_ckpt.sweep.candidates import OpenSweep
    from tune_ckpt.tree.storage.store import open_store

    sweep = OpenSweep(open_store("/nowhere"), "s3://bucket/sweep?region=eu")
    assert sweep.path("trial", "c") == "s3://bucket/sweep/trial/c?region=eu"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sweeps/run", ("/sweeps", "run")),
        ("/run/", ("/", "run")),  # not the working directory
        ("run", ("", "run")),  # within a filesystem
        ("s3://bucket/run?region=eu", ("s3://bucket?region=eu", "run")),
    ],
)
def test_the_folder_above(path, expected):
    assert parent_of(path) == expected


def test_a_sweep_that_is_called_as_the_folder_above_it_may_be_moved():
    places = places_of("/new/ppo", "/old/ppo/ppo/trial/run/checkpoint_1")
    assert "/new/ppo/trial/run/checkpoint_1" in places


class _Grid(list):
    """Anything like a ResultGrid."""

    filesystem = None

    def __init__(self, folder, results):
        super().__init__(results)
        self.experiment_path = str(folder)


def test_results_know_more_than_a_folder_that_was_not_written_yet(tmp_path):
    folder = function_trial(tmp_path, A, [{}], checkpoints=False)
    checkpoints = [SimpleNamespace(path=str(folder / f"checkpoint_{n:06}")) for n in range(2)]
    for checkpoint in checkpoints:
        plain_checkpoint(Path(checkpoint.path))
    taken = SimpleNamespace(path="/elsewhere/another_trial/checkpoint_000000")
    pairs = [(checkpoint, {"acc": number}) for number, checkpoint in enumerate(checkpoints)]
    grid = _Grid(
        tmp_path,
        [
            SimpleNamespace(path=str(folder), best_checkpoints=[*pairs, (taken, {"acc": 9})]),
            SimpleNamespace(path=None, best_checkpoints=[]),  # never started
            SimpleNamespace(path=str(tmp_path / "gone"), best_checkpoints=None),
        ],
    )
    ranked = tc.rank_checkpoints(grid, "acc")
    assert [record.value for record in ranked] == [1, 0]
    assert [record.trial_id for record in ranked] == [A, A]
