"""What the callback's actor does for retention: it looks, measures, deletes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tune_ckpt as tc
from tune_ckpt.tree.storage.local import LocalStore
from tune_ckpt.tune.fates import Held
from tune_ckpt.tune.pruning_jobs import delete_whole, measure, prune, survey


def test_a_survey_tells_each_checkpoint_with_its_metrics(tmp_path):
    trial = tmp_path / "T_abcde_00000_0"
    for number in range(2):
        (trial / f"checkpoint_00000{number}").mkdir(parents=True)
    line = {"m": 7, "training_iteration": 2, "checkpoint_dir_name": "checkpoint_000001"}
    (trial / "result.json").write_text(json.dumps(line) + "\n")
    first, second = survey("t", str(trial))
    assert (first.path, first.metrics) == (f"{trial}/checkpoint_000000", {})
    assert (second.path, second.metrics) == (f"{trial}/checkpoint_000001", line)
    assert survey("t", str(tmp_path / "nowhere")) == []


def test_a_survey_reads_each_checkpoint_once(tmp_path, monkeypatch):
    for number in range(5):
        tc.save_state({"w": number}, tmp_path / f"checkpoint_{number:06}")
    read, real = [], LocalStore.open
    monkeypatch.setattr(LocalStore, "open", lambda *args: read.append(args) or real(*args))
    assert len(survey("t", str(tmp_path))) == len(read) == 5


def test_a_checkpoint_goes_with_its_conversion_and_whatever_else_is_in_it(tmp_path):
    for folder in ("checkpoint_000000", "msgpack/checkpoint_000000", "checkpoint_000001"):
        tc.save_state({"w": np.ones(3)}, tmp_path / folder)
    (tmp_path / "checkpoint_000000/more.txt").write_text("x")
    one = Held(str(tmp_path / "checkpoint_000000"), "t", 0)
    (outcome,) = prune(one, str(tmp_path / "checkpoint_000001"))
    assert (outcome.status, outcome.checkpoint) == ("done", one.path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint_000001", "msgpack"]
    assert not list((tmp_path / "msgpack").iterdir())
    (tmp_path / "msgpack").rmdir()
    prune(Held(str(tmp_path / "checkpoint_000001"), "t", 0), None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["altered", "empty", "gone"])
def test_nothing_goes_while_the_newest_is_damaged(tmp_path, damage):
    for number in range(2):
        tc.save_state({"w": np.ones(3)}, tmp_path / f"checkpoint_00000{number}")
    newest = tmp_path / "checkpoint_000001"
    for file in newest.iterdir():
        file.write_bytes(b"x") if damage == "altered" else file.unlink()
    if damage == "gone":
        newest.rmdir()
    (outcome,) = prune(Held(str(tmp_path / "checkpoint_000000"), "t", 0), str(newest))
    assert outcome.status == "skipped"
    assert "the newest of its trial is damaged" in outcome.detail
    assert tc.verify(tmp_path / "checkpoint_000000").ok


def test_another_librarys_checkpoint_is_out_of_sight_before_its_first_file_goes(
    tmp_path, monkeypatch
):
    folder = tmp_path / "checkpoint_000000"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"x")
    monkeypatch.setattr("shutil.rmtree", lambda path, **options: None)  # killed before
    delete_whole(str(folder))
    assert not folder.exists()
    monkeypatch.undo()
    folder.mkdir()
    delete_whole(str(folder))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["os.rename", "shutil.rmtree"])
def test_what_the_disk_refuses_to_delete_is_a_failure(tmp_path, monkeypatch, call):
    folder = tmp_path / "checkpoint_000000"
    folder.mkdir()

    def refuse(*args, **options):
        if not options:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(call, refuse)
    (outcome,) = prune(Held(str(folder), "t", 0), None)
    assert (outcome.status, outcome.cause) == ("failed", "StorageError")
    assert "Permission denied" in outcome.detail


def test_what_is_gone_already_is_no_failure(tmp_path):
    assert prune(Held(str(tmp_path / "c/d"), "t", 0), None)[0].status == "done"


def test_on_other_storage_the_metadata_goes_first(tmp_path, monkeypatch):
    from pyarrow import fs

    from tune_ckpt.tree.storage.arrow import ArrowStore

    filesystem = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    tc.save_state({"w": np.ones(3)}, "t/checkpoint_000000", filesystem=filesystem)
    assert measure("t/checkpoint_000000", filesystem)[0].nbytes > 100
    names, delete = [], ArrowStore.delete
    monkeypatch.setattr(
        ArrowStore, "delete", lambda self, name: names.append(name) or delete(self, name)
    )
    delete_whole("t/checkpoint_000000", filesystem)
    assert names[0] == "metadata.json"
    assert not (tmp_path / "t/checkpoint_000000").exists()
