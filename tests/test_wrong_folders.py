"""Whoever mistakes one folder, or one name, for another is told which it is."""

import pytest

import tune_ckpt as tc
from tests.sweep.folders import make_sweep
from tune_ckpt.errors import InvalidArgumentError, NoCheckpointError, NotACheckpointError


@pytest.fixture
def sweep(tmp_path):
    return make_sweep(tmp_path / "sweep")


@pytest.mark.parametrize("read", [tc.load_state, tc.describe, tc.get_checkpoint_info])
def test_a_sweep_is_no_checkpoint(sweep, read):
    (sweep / "other.json").write_bytes(b"\x80")  # Tune's searchers keep pickles under such names
    with pytest.raises(NotACheckpointError, match="whole sweep's folder"):
        read(sweep)


def test_a_file_is_no_checkpoint(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(NotACheckpointError, match=r"x\.npz is not a checkpoint: it is a file"):
        tc.load_state(tmp_path / "x.npz")


def test_files_of_somebody_elses_are_told_as_such(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"PK")
    for read, told in (
        (tc.load_state, r"it holds model\.pt, .*neither tune_ckpt nor RLlib wrote it"),
        (tc.get_checkpoint_info, "no metadata of tune_ckpt's, and none of RLlib's"),
    ):
        with pytest.raises(NotACheckpointError, match=told):
            read(tmp_path)


@pytest.mark.parametrize("read", [tc.load_state, tc.describe])
def test_what_tune_pickled_of_a_trainable_is_told_with_what_reads_it(tmp_path, read):
    (tmp_path / "_dict_checkpoint.pkl").write_bytes(b"")
    with pytest.raises(NotACheckpointError, match=r"Tune wrote it, .* own restore\(\) reads it"):
        read(tmp_path)


def test_verifying_a_sweep_is_a_fault_that_says_what_it_is(sweep):
    assert "whole sweep's folder" in str(tc.verify(sweep))
    assert not tc.verify(sweep).ok


def test_the_folder_above_a_sweep_is_told_with_what_is_in_it(sweep):
    with pytest.raises(NoCheckpointError, match="folders in it: sweep"):
        tc.best_checkpoint(sweep.parent, "eval/acc")


def test_of_very_many_folders_a_few_are_named_and_the_rest_counted(tmp_path):
    for number in range(8):
        (tmp_path / f"sweep{number}").mkdir()
    with pytest.raises(NoCheckpointError, match="sweep4, and 3 more"):
        tc.best_checkpoint(tmp_path, "eval/acc")
    with pytest.raises(NotACheckpointError, match="sweep4, and 3 more, but no metadata"):
        tc.load_state(tmp_path)


def test_a_name_that_no_config_has_is_refused_with_those_there_are(sweep):
    with pytest.raises(InvalidArgumentError, match="lr"):
        tc.best_checkpoint(sweep, "eval/acc", where={"learning_rate": 0.1})
    with pytest.raises(NoCheckpointError, match="where= refused"):
        tc.best_checkpoint(sweep, "eval/acc", where={"lr": 0.7})
