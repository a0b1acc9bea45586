"""Which checkpoint of a sweep is the best, and why others were passed over."""

from __future__ import annotations

import copy
import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch

import tune_ckpt as tc
from tests.sweep.folders import A, B, edit, function_trial, names, own_checkpoint
from tune_ckpt.errors import (
    AmbiguousMetricError,
    InvalidArgumentError,
    NoCheckpointError,
    OccupiedFolderError,
    StorageError,
    UnknownMetricError,
)


@pytest.mark.parametrize(("mode", "expected"), [("max", (A, 2, 0.9)), ("min", (A, 1, 0.1))])
def test_the_best_is_a_checkpoint_not_a_trial(tmp_path, mode, expected):
    function_trial(tmp_path, A, [{"acc": 0.1}, {"acc": 0.9}, {"acc": 0.2}])
    function_trial(tmp_path, B, [{"acc": 0.5}, {"acc": 0.1}, {"acc": 0.6}], config={"lr": 2})
    best = tc.best_checkpoint(tmp_path, "acc", mode)
    assert (best.trial_id, best.iteration, best.value) == expected
    assert best.metrics["acc"] == best.value
    assert json.loads(Path(best.path, "weights.txt").read_text()) == best.metrics
    assert (best.metric, best.mode, best.filesystem) == ("acc", mode, None)
    assert best.config == {"lr": 1}


class WithItsOwnWay(tc.Checkpointable):
    """Its ``restore_from_path`` needs a path."""

    files = ()

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"files": len(self.files)}

    def set_state(self, state):
        pass

    def restore_from_path(self, path, **options):
        self.files = [file.name for file in Path(path).iterdir()]
        return super().restore_from_path(path, **options)


def test_an_objects_own_way_of_restoring_gets_the_path_of_the_best(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}], checkpoints=False)
    WithItsOwnWay().save_to_path(folder / "checkpoint_000000")
    edit(folder / "checkpoint_000000", metrics={"acc": 0.5})
    assert "metadata.json" in tc.best_checkpoint(tmp_path, "acc").restore(WithItsOwnWay).files


def test_the_ranking_goes_down_and_ties_are_settled(tmp_path):
    function_trial(tmp_path, B, [{"acc": 0.5}, {"acc": 0.9}])
    function_trial(tmp_path, A, [{"acc": 0.1}, {"acc": 0.9}, {"acc": 0.9}])
    ranked = tc.rank_checkpoints(str(tmp_path), "acc")
    assert names(ranked) == [(A, 2), (B, 2), (A, 3), (B, 1), (A, 1)]
    followed = [record.runner_up for record in ranked]
    assert names(followed[:-1]) == names(ranked[1:])
    assert followed[-1] is None
    two = tc.rank_checkpoints(tmp_path, "acc", k=2)
    assert names(two) == [(A, 2), (B, 2)]
    assert names([two[1].runner_up]) == [(A, 3)]


def test_one_trial_is_treated_like_many(tmp_path):
    function_trial(tmp_path, A, [{"acc": 0.1}])
    assert tc.best_checkpoint(tmp_path, "acc").runner_up is None
    with pytest.raises(UnknownMetricError):
        tc.best_checkpoint(tmp_path, "nonsense")


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("bad", [math.nan, "0.9", [0.9], {"x": 1}])
def test_what_is_no_number_never_wins(tmp_path, bad, mode):
    function_trial(tmp_path, A, [{"acc": bad}, {"acc": 0.5}, {}])
    best = tc.best_checkpoint(tmp_path, "acc", mode)
    assert best.iteration == 2
    wrong = ", which is no number" if isinstance(bad, str | list | dict) else ""
    assert best.passed_over == (
        f"trial {A}, iteration 1 (checkpoint_000000): acc is {bad!r}{wrong}",
        f"trial {A}, iteration 3 (checkpoint_000002): acc is None",
    )


def test_infinity_is_a_number(tmp_path):
    function_trial(tmp_path, A, [{"acc": -math.inf}, {"acc": 0.5}, {"acc": math.inf}])
    assert names(tc.rank_checkpoints(tmp_path, "acc")) == [(A, 3), (A, 2), (A, 1)]


def test_only_nan_is_an_error_that_says_so(tmp_path):
    function_trial(tmp_path, A, [{"acc": math.nan}])
    with pytest.raises(NoCheckpointError, match="acc is nan"):
        tc.best_checkpoint(tmp_path, "acc")


def test_truth_values_count_as_in_tune(tmp_path):
    function_trial(tmp_path, A, [{"solved": False}, {"solved": True}])
    assert tc.best_checkpoint(tmp_path, "solved").value == 1.0


@pytest.mark.parametrize("result", [{"eval": {"acc": 1}}, {"eval/acc": 1}])
def test_nested_and_literal_names(tmp_path, result):
    function_trial(tmp_path, A, [result])
    assert tc.best_checkpoint(tmp_path, "eval/acc").value == 1


def test_an_ambiguous_name_is_an_error_that_says_where(tmp_path):
    function_trial(tmp_path, A, [{"eval/acc": 1, "eval": {"acc": 2}}])
    with pytest.raises(AmbiguousMetricError, match=f"trial {A}, iteration 1"):
        tc.best_checkpoint(tmp_path, "eval/acc")


def test_an_unknown_metric_lists_the_nearest_first(tmp_path):
    function_trial(tmp_path, A, [{"eval": {"accuracy": 1}, "loss": 2, "note": "x"}])
    with pytest.raises(UnknownMetricError) as unknown:
        tc.best_checkpoint(tmp_path, "acuracy")
    assert unknown.value.available[0] == "eval/accuracy"
    of_tune = {"should_checkpoint", "training_iteration"}
    assert set(unknown.value.available) == {"eval/accuracy", "loss"} | of_tune


def test_a_dict_of_metrics_leads_to_those_in_it(tmp_path):
    function_trial(tmp_path, A, [{"eval": {"loss": 1, "acc": 2}, "evals": 3}, {}])
    with pytest.raises(UnknownMetricError) as unknown:
        tc.best_checkpoint(tmp_path, "eval")
    assert unknown.value.available[:3] == ("eval/acc", "eval/loss", "evals")


def test_without_a_metric_those_there_are_are_listed(tmp_path):
    function_trial(tmp_path, A, [{"eval": {"loss": 1}, "time_total_s": 2, "zeal": 3}])
    with pytest.raises(InvalidArgumentError) as none:
        tc.best_checkpoint(tmp_path)
    expected = ["eval/loss", "zeal", "should_checkpoint", "time_total_s", "training_iteration"]
    assert (none.value.argument, none.value.expected) == ("metric", expected)


def test_no_more_checkpoints_are_told_than_somebody_reads(tmp_path):
    for number in range(30):
        function_trial(tmp_path, f"aaaaa_{number:05}", [{"acc": "low"}])
    with pytest.raises(NoCheckpointError, match=r"and 20 more$") as none:
        tc.best_checkpoint(tmp_path, "acc")
    assert len(none.value.passed_over) == 30


def test_a_metric_that_only_results_without_a_checkpoint_have_is_known(tmp_path):
    function_trial(tmp_path, A, [{"loss": 1}])
    function_trial(tmp_path, B, [{"acc": 1}], checkpoints=False)
    with pytest.raises(NoCheckpointError, match=f"trial {A}.*: acc is None"):
        tc.best_checkpoint(tmp_path, "acc")


def test_a_sweep_without_checkpoints_is_an_error_that_says_so(tmp_path):
    function_trial(tmp_path, A, [{"acc": 1}], checkpoints=False)
    with pytest.raises(NoCheckpointError, match=f"trial {A} has no checkpoint"):
        tc.best_checkpoint(tmp_path, "acc")


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_a_folder_without_trials_is_an_error_that_says_so(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoCheckpointError, match=f"{folder}.*\n.*nothing is there"):
        tc.best_checkpoint(tmp_path / folder, "acc")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((None, "acc"), {}), (("x", "acc", "best"), {}), (("x", ""), {}), (("x", "acc"), {"k": 0})],
)
def test_impossible_arguments(arguments, options):
    with pytest.raises(InvalidArgumentError):
        tc.rank_checkpoints(*arguments, **options)


def test_a_record_is_short_and_copies(tmp_path):
    function_trial(tmp_path, A, [{"acc": 0.5}, {"acc": 0.4}])
    best = tc.best_checkpoint(tmp_path, "acc")
    assert "runner_up" not in repr(best)
    assert copy.copy(best).value == best.value
    with pytest.raises(AttributeError):
        best.value = 1


# ----------------------------------------------------------------------- checkpoints that are gone


def test_a_checkpoint_that_is_gone_is_passed_over_with_the_reason(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.9}, {"acc": 0.8}, {"acc": 0.7}])
    shutil.rmtree(folder / "checkpoint_000000")
    (folder / "checkpoint_000001/weights.txt").unlink()  # an empty folder is none either
    best = tc.best_checkpoint(tmp_path, "acc")
    assert best.value == 0.7
    assert best.passed_over == (
        f"trial {A}, iteration 1 (checkpoint_000000) has acc 0.9, but its checkpoint was deleted",
        f"trial {A}, iteration 2 (checkpoint_000001) has acc 0.8, but its checkpoint was deleted",
    )


def test_all_gone_is_an_error_that_says_so(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.9}])
    shutil.rmtree(folder / "checkpoint_000000")
    with pytest.raises(NoCheckpointError, match=r"acc 0\.9, but its checkpoint was deleted"):
        tc.best_checkpoint(tmp_path, "acc")


def test_a_damaged_checkpoint_is_passed_over_unless_verification_is_off(tmp_path):
    folder = tmp_path / f"train_{A}_0"
    for number in range(2):
        own_checkpoint(folder / f"checkpoint_{number:06}", {"acc": 0.5 + number}, number + 1)
    state = next((folder / "checkpoint_000001").glob("state.*"))
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    best = tc.best_checkpoint(tmp_path, "acc")
    assert (best.value, best.runner_up) == (0.5, None)
    assert "its checkpoint is damaged: state" in best.passed_over[0]
    assert tc.best_checkpoint(tmp_path, "acc", verify=False).value == 1.5
    assert names(tc.rank_checkpoints(tmp_path, "acc")) == [(A, 1)]


def test_only_what_is_returned_is_verified(tmp_path, monkeypatch):
    function_trial(tmp_path, A, [{"acc": number} for number in range(9)])
    seen = []
    verify = tc.verify
    monkeypatch.setattr(
        "tune_ckpt.sweep.ranking.verify_checkpoint",
        lambda path, **options: seen.append(path) or verify(path, **options),
    )
    tc.rank_checkpoints(tmp_path, "acc", k=2)
    assert [path[-6:] for path in seen] == ["000008", "000007"]


# ------------------------------------------------------------------------------------- exporting


def _own(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    own_checkpoint(folder / "checkpoint_000001", {"acc": 0.9}, 2)
    return tc.best_checkpoint(tmp_path, "acc")


def test_a_copy_needs_a_path(tmp_path):
    with pytest.raises(InvalidArgumentError, match="path=None"):
        _own(tmp_path).export(None)


def _of_a_framework(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    (checkpoint,) = folder.glob("checkpoint_*")
    for path in checkpoint.iterdir():
        path.unlink()
    (checkpoint / "sub").mkdir()
    files = {"model.pt": b"w" * 100, "sub/optimizer.pt": b"o", ".metadata.json": b"{}"}
    for name, data in files.items():
        (checkpoint / name).write_bytes(data)
    return tc.best_checkpoint(tmp_path, "acc"), files


def test_what_is_a_frameworks_own_is_copied_as_it_is(tmp_path, caplog):
    best, files = _of_a_framework(tmp_path / "sweep")
    exported = Path(best.export(tmp_path / "out"))
    found = {str(p.relative_to(exported)): p.read_bytes() for p in exported.rglob("*.*")}
    assert found == files
    assert f"{best.path} is copied as it is: neither tune_ckpt nor RLlib wrote it" in caplog.text


def test_a_frameworks_own_files_are_not_mixed_with_others(tmp_path):
    best, _ = _of_a_framework(tmp_path / "sweep")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.pt").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"Cannot export into .*: the folder is not empty"):
        best.export(tmp_path / "out")
    assert (tmp_path / "out" / "model.pt").read_bytes() == b"mine"


def test_a_copy_does_not_replace_files_of_somebody_elses(tmp_path):
    best = _own(tmp_path / "sweep")
    (tmp_path / "state.pkl").write_bytes(b"mine")
    with pytest.raises(OccupiedFolderError, match=r"not a checkpoint, but holds state\.pkl"):
        best.export(tmp_path)
    assert (tmp_path / "state.pkl").read_bytes() == b"mine"


def test_a_copy_does_not_take_the_checkpoints_own_place(tmp_path):
    best = _own(tmp_path / "sweep")
    (tmp_path / "link").symlink_to(best.path)
    before = {path: path.stat().st_mtime_ns for path in Path(best.path).rglob("*")}
    for path in (best.path, f"{best.path}/", f"file://{best.path}", tmp_path / "link", best):
        with pytest.raises(InvalidArgumentError, match="than the checkpoint's own"):
            best.export(path)
    assert {path: path.stat().st_mtime_ns for path in Path(best.path).rglob("*")} == before


@pytest.mark.parametrize("format", ["msgpack", "pickle"])
def test_a_copy_whose_name_ends_in_zip_is_a_single_file(tmp_path, format):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}], checkpoints=False)
    state = {"w": torch.ones(2), "step": 3}
    tc.save_state(state, folder / "checkpoint_000000", format=format)
    edit(folder / "checkpoint_000000", metrics={"acc": 0.5})
    exported = Path(tc.best_checkpoint(tmp_path, "acc").export(tmp_path / "best.zip"))
    assert exported.is_file()
    assert tc.verify(exported).ok
    assert tc.describe(exported).format == "msgpack"
    assert tc.load_state(exported)["w"].tolist() == [1, 1]


def test_a_frameworks_own_files_are_no_single_file(tmp_path):
    best, _ = _of_a_framework(tmp_path / "sweep")
    with pytest.raises(InvalidArgumentError, match="only what tune_ckpt writes"):
        best.export(tmp_path / "best.zip")
    assert not (tmp_path / "best.zip").exists()


def test_a_copy_is_not_put_among_a_sweeps_own_files(tmp_path):
    best = _own(tmp_path)
    (tmp_path / "experiment_state-1.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    for folder, which in ((tmp_path, "whole sweep's"), (Path(best.path).parent, "trial's")):
        with pytest.raises(InvalidArgumentError, match=f"it is a {which} folder"):
            best.export(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_copy_of_msgpack_is_exact_where_torch_is_not_installed(tmp_path, monkeypatch):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}], checkpoints=False)
    tc.save_state({"w": torch.ones(2)}, folder / "checkpoint_000000")
    edit(folder / "checkpoint_000000", metrics={"acc": 0.5})
    best = tc.best_checkpoint(tmp_path, "acc")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torch", None)
        exported = best.export(tmp_path / "out")
    assert isinstance(tc.load_state(exported)["w"], torch.Tensor)
