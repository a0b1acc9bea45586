"""One-step replacement: a reader finds the old checkpoint or the new one, whatever happens."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tune_ckpt as tc
from tests.agents import Agent, trained
from tests.tree import killing
from tune_ckpt.errors import (
    IncompleteCheckpointError,
    NotACheckpointError,
    OccupiedFolderError,
    StorageError,
)
from tune_ckpt.tree import staging, writing
from tune_ckpt.tree.storage import leftovers
from tune_ckpt.tree.storage.store import LocalStore


def test_nothing_is_left_beside_a_saved_checkpoint(tmp_path):
    for step in (1, 2):
        trained(step=step).save_to_path(tmp_path / "c")
    assert os.listdir(tmp_path) == ["c"]


def test_an_existing_empty_folder_is_used_and_keeps_its_mode(tmp_path):
    (tmp_path / "c").mkdir(mode=0o700)
    trained().save_to_path(tmp_path / "c")
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert Agent.from_checkpoint(tmp_path / "c").step == 7


def _save(path, tmp_path):
    tc.save_state({"step": 3}, path)


def _extract(path, tmp_path):
    tc.save_state({"step": 3}, tmp_path / "other")
    tc.extract(tc.archive(tmp_path / "other", tmp_path / "other.zip"), path)


@pytest.mark.parametrize("write", [_save, _extract])
@pytest.mark.parametrize("path", [".", "../here", None])
def test_the_working_folder_and_folders_for_other_things_stay_themselves(
    tmp_path, monkeypatch, write, path
):
    here = tmp_path / "here"
    (here / "src").mkdir(parents=True)
    before = here.stat().st_ino
    if path:
        monkeypatch.chdir(here)
    for _ in range(1 if path is None else 2):
        write(path or here, tmp_path)
        assert here.stat().st_ino == before
        assert tc.load_state(path or here) == {"step": 3}
    assert (here / "src").is_dir()


OTHERS = {
    "a state": {"state.pkl": b"mine"},
    "metadata": {"metadata.json": b'{"title": "mine"}'},
    "text": {"metadata.json": b"mine"},
    "both": {"metadata.json": b'["mine"]', "state.pkl": b"mine", "notes.txt": b"mine"},
}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("files", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("write", [_save, _extract])
def test_files_of_somebody_elses_are_not_replaced(tmp_path, monkeypatch, write, files, in_place):
    folder = tmp_path / "project"
    folder.mkdir()
    if in_place:
        monkeypatch.setattr(writing, "can_stage", lambda store: False)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(OccupiedFolderError) as caught:
        write(folder, tmp_path)
    assert caught.value.files == tuple(name for name in files if name != "notes.txt")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize("left", [b"", b'{"tune_ckpt": {', b'{"tune_ckpt": {}}'])
def test_the_remains_of_a_checkpoint_are_replaced(tmp_path, left):
    tc.save_state({"step": 1}, tmp_path / "c")
    (tmp_path / "c" / "metadata.json").write_bytes(left)
    tc.save_state({"step": 2}, tmp_path / "c")
    assert tc.load_state(tmp_path / "c") == {"step": 2}


def test_a_failing_save_leaves_the_old_checkpoint_and_no_leftover(tmp_path, monkeypatch):
    trained(step=1).save_to_path(tmp_path / "c")
    monkeypatch.setattr(LocalStore, "write_bytes", _no_space)
    with pytest.raises(StorageError, match="No space left"):
        trained(step=2).save_to_path(tmp_path / "c")
    assert Agent.from_checkpoint(tmp_path / "c").step == 1
    assert os.listdir(tmp_path) == ["c"]


def _no_space(self, name, data):
    raise StorageError(self.path(name), "write", "No space left on device")


class Refusing:
    """A C library in which every exchange fails."""

    def __init__(self, number):
        self.number = number

    def renameat2(self, *args):
        ctypes.set_errno(self.number)
        return -1


@pytest.mark.parametrize("libc", [Refusing(errno.EINVAL), Refusing(errno.ENOSYS), object()])
def test_without_an_exchange_two_renames_do(tmp_path, monkeypatch, libc):
    monkeypatch.setattr(staging.ctypes, "CDLL", lambda *_, **__: libc)
    trained(step=1).save_to_path(tmp_path / "c")
    trained(step=2).save_to_path(tmp_path / "c")
    assert os.listdir(tmp_path) == ["c"]
    assert Agent.from_checkpoint(tmp_path / "c").step == 2


def test_an_exchange_that_is_forbidden_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    trained(step=1).save_to_path(tmp_path / "c")
    monkeypatch.setattr(staging.ctypes, "CDLL", lambda *_, **__: Refusing(errno.EACCES))
    with pytest.raises(StorageError, match="Permission denied"):
        trained(step=2).save_to_path(tmp_path / "c")
    assert Agent.from_checkpoint(tmp_path / "c").step == 1
    assert os.listdir(tmp_path) == ["c"]


def test_what_is_not_ours_is_carried_over_where_files_cannot_be_linked(tmp_path, monkeypatch):
    trained(step=1).save_to_path(tmp_path / "c")
    (tmp_path / "c" / "notes").mkdir()
    (tmp_path / "c" / "notes" / "mine.txt").write_text("keep")
    (tmp_path / "c" / "link").symlink_to("notes/mine.txt")

    def refused(*args, **options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(staging.os, "link", refused)
    trained(step=2).save_to_path(tmp_path / "c")
    assert (tmp_path / "c" / "notes" / "mine.txt").read_text() == "keep"
    assert os.readlink(tmp_path / "c" / "link") == "notes/mine.txt"


def test_between_the_two_renames_readers_find_the_old_one_and_the_next_save_mends(tmp_path):
    trained(step=1).save_to_path(tmp_path / "c")
    os.rename(tmp_path / "c", leftovers.sibling(tmp_path / "c", "old"))
    assert Agent.from_checkpoint(tmp_path / "c").step == 1
    trained(step=2).save_to_path(tmp_path / "c")
    assert Agent.from_checkpoint(tmp_path / "c").step == 2
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize("suffix", [None, leftovers.OLD])
def test_a_leftover_that_stays_is_not_said_to_be_deleted(tmp_path, monkeypatch, suffix):
    def refuse(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(leftovers.shutil, "rmtree", refuse)
    for path in (tmp_path / "c", leftovers.sibling(tmp_path / "c", suffix)):
        path.mkdir()
    assert leftovers.remove_leftovers(tmp_path / "c") == []


def test_a_folder_in_use_is_no_leftover_and_one_left_behind_is(tmp_path):
    in_use, left = (leftovers.sibling(tmp_path / "c") for _ in range(2))
    left.mkdir()
    with leftovers.held(in_use):
        assert leftovers.remove_leftovers(tmp_path / "c") == [left]
        assert in_use.exists()


@pytest.mark.parametrize(("module", "step"), [(os, "open"), (leftovers.fcntl, "flock")])
def test_a_folder_removed_before_it_was_locked_is_made_again(tmp_path, monkeypatch, module, step):
    staging = leftovers.sibling(tmp_path / "c")
    removals, do = iter([staging.rmdir]), getattr(module, step)

    def late(*args):
        next(removals, lambda: None)()
        return do(*args)

    monkeypatch.setattr(module, step, late)
    with leftovers.held(staging):
        assert staging.exists()


def test_a_parent_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="create the folder"):
        trained().save_to_path(tmp_path / "file" / "sub" / "c")


# ----------------------------------------------------------------------------------- the kill test

STRIDES = {"msgpack": 3, "pickle": 6, "durable": 6, "base": 6, "async": 6, "convert": 6}


@pytest.mark.slow
@pytest.mark.parametrize("what", STRIDES)
def test_killed_at_any_operation_a_reader_finds_old_or_new(tmp_path, what):
    steps = set()
    for n in killing.moments(STRIDES[what]):
        path = tmp_path / str(n) / "c"
        trained(step=1).save_to_path(path, use_msgpack=False)
        code = killing.run(killing.do_and_die, path, what, n)
        steps.add(Agent.from_checkpoint(path).step)
        assert tc.verify(path).ok
        if code == 0:
            break
        assert code == -signal.SIGKILL
        trained(step=3).save_to_path(path)
        assert os.listdir(path.parent) == ["c"]  # the next save removes what was left
    assert n > 20
    assert steps == ({1} if what == "convert" else {1, 2})


@pytest.mark.slow
def test_killed_at_every_operation_of_a_first_save_there_is_all_or_an_error(tmp_path):
    for n in killing.moments(2):
        path = tmp_path / str(n) / "c"
        code = killing.run(killing.do_and_die, path, "msgpack", n)
        try:
            assert Agent.from_checkpoint(path).step == 2
        except (IncompleteCheckpointError, NotACheckpointError):
            assert code == -signal.SIGKILL
        if code == 0:
            break
    assert n > 20


@pytest.mark.slow
def test_killed_at_every_operation_of_a_deletion_there_is_all_or_nothing(tmp_path):
    kept = 0
    for n in range(1, 1000):
        path = tmp_path / str(n) / "c"
        trained(step=1).save_to_path(path)
        code = killing.run(killing.do_and_die, path, "delete", n)
        try:
            assert Agent.from_checkpoint(path).step == 1
            assert tc.verify(path).ok
            kept += 1
        except NotACheckpointError:
            pass
        tc.clean(path)
        assert os.listdir(path.parent) in ([], ["c"])
        if code == 0:
            break
    assert n > kept > 3
    assert os.listdir(path.parent) == []


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    command = [sys.executable, "-m", "tests.tree.kill_at_random", "--seconds", "2", "--seed"]
    seed = str(int.from_bytes(os.urandom(3), "big"))
    run = subprocess.run(
        [*command, seed], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"seed {seed}: {run.stderr}"
