"""Deleting a checkpoint, and what killed writers left; never what is anybody else's."""

import errno
import os
import time
import zipfile

import pytest

import tune_ckpt as tc
from tests.agents import Agent, trained
from tune_ckpt.errors import CorruptDataError, ForeignArchiveError, NotACheckpointError
from tune_ckpt.tree.storage import leftovers
from tune_ckpt.tree.storage.folder import ABANDONED_AFTER


def test_a_deleted_checkpoint_is_gone_with_its_folder(tmp_path):
    trained().save_to_path(tmp_path / "c")
    tc.delete_checkpoint(tmp_path / "c")
    assert os.listdir(tmp_path) == []
    for path in (tmp_path / "c", tmp_path / "never" / "there"):
        with pytest.raises(NotACheckpointError):
            tc.delete_checkpoint(path)
    assert os.listdir(tmp_path) == []


def test_of_a_link_to_a_checkpoint_the_checkpoint_is_deleted(tmp_path):
    trained().save_to_path(tmp_path / "c")
    (tmp_path / "latest").symlink_to(tmp_path / "c")
    tc.delete_checkpoint(tmp_path / "latest")
    assert os.listdir(tmp_path) == ["latest"]


def test_what_else_is_in_the_folder_stays(tmp_path):
    trained().save_to_path(tmp_path / "c")
    (tmp_path / "c" / "mine.txt").write_text("x")
    (tmp_path / "c" / "own" / "deep").mkdir(parents=True)
    (tmp_path / "c" / "model" / "mine.txt").write_text("x")
    tc.delete_checkpoint(tmp_path / "c")
    assert sorted(os.listdir(tmp_path / "c")) == ["mine.txt", "model", "own"]
    assert os.listdir(tmp_path / "c" / "model") == ["mine.txt"]


def test_an_archive_is_deleted_and_no_other_zip_file(tmp_path):
    trained().save_to_path(tmp_path / "c")
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    tc.delete_checkpoint(tmp_path / "c.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("notes.txt", "mine")
    with pytest.raises(ForeignArchiveError):
        tc.delete_checkpoint(tmp_path / "other.zip")
    assert sorted(os.listdir(tmp_path)) == ["c", "other.zip"]


def test_a_damaged_checkpoint_can_be_deleted(tmp_path):
    trained().save_to_path(tmp_path / "c")
    (tmp_path / "c" / "metadata.json").write_text("{")
    with pytest.raises(CorruptDataError):
        Agent.from_checkpoint(tmp_path / "c")
    tc.delete_checkpoint(tmp_path / "c")
    assert not (tmp_path / "c" / "state.pkl").exists()


# -------------------------------------------------------------------------------- leftovers


@pytest.fixture
def trial(tmp_path):
    """A trial's folder with two checkpoints and what two killed writers left."""
    trial = tmp_path / "sweep" / "trial"
    for step in (1, 2):
        trained(step=step).save_to_path(trial / f"checkpoint_{step}")
    (trial / ".checkpoint_2.tune_ckpt-0123abcd").mkdir()
    (trial / ".checkpoint_2.tune_ckpt-0123abcd" / "state.pkl").write_text("half")
    (trial / "checkpoint_1" / "model" / ".state.pkl.tune_ckpt-0123abcd").write_text("half")
    return trial


@pytest.mark.parametrize("where", ["sweep", "sweep/trial"])
def test_leftovers_are_removed_at_any_depth(trial, tmp_path, where):
    removed = tc.clean(tmp_path / where)
    assert sorted(map(os.path.basename, removed)) == [
        ".checkpoint_2.tune_ckpt-0123abcd",
        ".state.pkl.tune_ckpt-0123abcd",
    ]
    assert sorted(os.listdir(trial)) == ["checkpoint_1", "checkpoint_2"]
    assert not tc.verify(trial / "checkpoint_1").warnings
    assert tc.clean(tmp_path / where) == []


def test_leftovers_beside_a_checkpoint_are_removed_and_no_others(trial):
    removed = tc.clean(trial / "checkpoint_2")
    assert list(map(os.path.basename, removed)) == [".checkpoint_2.tune_ckpt-0123abcd"]


def test_what_is_being_written_is_no_leftover(trial):
    folder = leftovers.sibling(trial / "checkpoint_2")
    file = leftovers.sibling(trial / "checkpoint_2" / "state.pkl")
    with leftovers.held(folder):
        fd = leftovers.create_locked(file)
        tc.clean(trial)
        assert folder.exists()
        assert file.exists()
        os.close(fd)
    assert sorted(tc.clean(trial)) == sorted([str(folder), str(file)])


def test_links_to_folders_are_not_followed(trial, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    left = tmp_path / "elsewhere" / ".a.tune_ckpt-0123abcd"
    left.write_text("half")
    trained().save_to_path(tmp_path / "elsewhere" / "c")
    unnamed = tmp_path / "elsewhere" / "c" / "state.0123abcd.pkl"
    unnamed.write_text("half")
    (trial / "elsewhere").symlink_to(tmp_path / "elsewhere")
    (trial / "up").symlink_to(tmp_path / "sweep")
    assert len(tc.clean(tmp_path / "sweep", older_than_secs=0)) == 2
    assert left.exists()
    assert unnamed.exists()


def test_names_that_only_look_alike_stay(tmp_path):
    names = [".tune_ckpt-0123abcd", ".a.tune_ckpt-xyz", "a.tune_ckpt-0123abcd", ".a.tune_ckpt-old2"]
    for name in names:
        (tmp_path / name).write_text("mine")
    assert tc.clean(tmp_path) == []
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_a_swap_that_was_interrupted_is_mended(tmp_path):
    trained(step=1).save_to_path(tmp_path / "c")
    os.rename(tmp_path / "c", leftovers.sibling(tmp_path / "c", leftovers.OLD))
    assert tc.clean(tmp_path) == []
    assert os.listdir(tmp_path) == ["c"]
    assert Agent.from_checkpoint(tmp_path / "c").step == 1
    mended_by_another = leftovers.sibling(tmp_path / "d", leftovers.OLD)
    assert not leftovers.remove_leftover(mended_by_another)


def test_without_locks_age_tells_what_was_left(trial, monkeypatch):
    def no_locks(fd, operation):
        raise OSError(errno.EBADF, "Bad file descriptor")  # as NFS says of a folder

    monkeypatch.setattr(leftovers.fcntl, "flock", no_locks)
    assert tc.clean(trial) == []
    old = time.time() - ABANDONED_AFTER - 1
    os.utime(trial / ".checkpoint_2.tune_ckpt-0123abcd", (old, old))
    assert len(tc.clean(trial)) == 1
    trained(step=3).save_to_path(trial / "checkpoint_2")
    assert Agent.from_checkpoint(trial / "checkpoint_2").step == 3
