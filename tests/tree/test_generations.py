"""Saving where no folder can be exchanged: old or new, whatever happens and whoever else saves."""

import os
import random
import signal

import pytest

import tune_ckpt as tc
from tests.agents import Agent, trained
from tests.tree import killing
from tune_ckpt.errors import (
    CorruptDataError,
    IncompleteCheckpointError,
    NotACheckpointError,
    StorageError,
)
from tune_ckpt.tree import consistency, generations, reading, writing
from tune_ckpt.tree.layout import FileNames
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import open_store


@pytest.fixture
def in_place(monkeypatch):
    monkeypatch.setattr(writing, "can_stage", lambda store: False)


def _files(path):
    return {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}


def test_a_first_save_has_rllibs_names(in_place, tmp_path):
    trained().save_to_path(tmp_path, use_msgpack=True)
    own = {"metadata.json", "class_and_ctor_args.msgpack", "state.msgpack"}
    folders = ("", "model/", "model/head/")
    assert _files(tmp_path) == {folder + name for folder in folders for name in own}


def test_a_first_save_beside_other_files_has_rllibs_names_and_leaves_them(in_place, tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    trained().save_to_path(tmp_path)
    assert {"notes.json", "state.pkl", "metadata.json"} <= _files(tmp_path)
    trained(8).save_to_path(tmp_path)
    assert "notes.json" in _files(tmp_path)
    assert "state.pkl" not in _files(tmp_path)


def test_a_later_save_leaves_nothing_of_the_earlier(in_place, tmp_path):
    for step in range(3):
        trained(step).save_to_path(tmp_path, use_msgpack=step % 2 == 0)
        assert Agent.from_checkpoint(tmp_path).step == step
        assert len(_files(tmp_path)) == 9
        assert not tc.verify(tmp_path).warnings


class Renamed(Agent):
    METADATA_FILE_NAME = "rllib_checkpoint.json"
    CLASS_AND_CTOR_ARGS_FILE_NAME = "arguments.pkl"
    STATE_FILE_NAME = "weights"


@pytest.mark.parametrize("first", [Agent, Renamed])
def test_a_class_with_file_names_of_its_own_replaces_and_is_replaced(in_place, tmp_path, first):
    for step, cls in enumerate([first, Agent, Renamed, Renamed, Agent]):
        agent = cls()
        agent.step = step
        agent.save_to_path(tmp_path)
        assert cls.from_checkpoint(tmp_path).step == step
        assert len(_files(tmp_path)) == 9
        tc.convert_to_msgpack_checkpoint(tmp_path)
        assert cls.from_checkpoint(tmp_path).step == step
        opened = open_tree(open_store(tmp_path))
        assert opened.metadata.names(opened.metadata_file) == FileNames(
            cls.METADATA_FILE_NAME, cls.CLASS_AND_CTOR_ARGS_FILE_NAME, cls.STATE_FILE_NAME
        )


def test_what_another_library_wrote_is_replaced(in_place, tmp_path):
    (tmp_path / "metadata.json").write_text('{"state_file": "state"}')
    (tmp_path / "state.pkl").write_bytes(b"another library's")
    trained().save_to_path(tmp_path)
    assert Agent.from_checkpoint(tmp_path).step == 7
    assert "state.pkl" not in _files(tmp_path)  # that library would find it, not ours


def test_a_damaged_checkpoint_is_replaced(in_place, tmp_path):
    for step in (1, 2, 3):
        trained(step).save_to_path(tmp_path)
        assert Agent.from_checkpoint(tmp_path).step == step
        (tmp_path / "metadata.json").write_bytes(b"damaged")


def test_leftovers_go_when_they_are_old_and_not_before(in_place, tmp_path):
    trained(1).save_to_path(tmp_path)
    trained(2).save_to_path(tmp_path)
    theirs = ["state.0123abcd.pkl", "model/metadata.0123abcd.json", ".tune_ckpt-0123abcd"]
    mine = ["state.txt", "other.0123abcd.pkl", "notes.json"]
    for name in (*theirs, *mine):
        (tmp_path / name).write_bytes(b"")
    trained(3).save_to_path(tmp_path)  # they may be another writer's, who is at work
    assert {*theirs, *mine} <= _files(tmp_path)
    for name in (*theirs, *mine):
        os.utime(tmp_path / name, (0, 0))
    trained(4).save_to_path(tmp_path)
    assert not {*theirs} & _files(tmp_path)
    assert {*mine} <= _files(tmp_path)
    assert Agent.from_checkpoint(tmp_path).step == 4


def test_a_failed_deletion_is_no_failed_save(in_place, tmp_path, monkeypatch, caplog):
    trained(1).save_to_path(tmp_path)

    def refuse(self, name):
        raise StorageError(self.path(name), "delete", "Permission denied")

    monkeypatch.setattr("tune_ckpt.tree.storage.local.LocalStore.delete", refuse)
    trained(2).save_to_path(tmp_path)
    assert Agent.from_checkpoint(tmp_path).step == 2
    assert "state.pkl" in caplog.text
    assert len(tc.verify(tmp_path).warnings) > 5


def test_what_cannot_be_listed_after_the_commit_is_no_failed_save(
    in_place, tmp_path, monkeypatch, caplog
):
    trained(1).save_to_path(tmp_path)

    def refuse(files):
        raise StorageError(str(tmp_path), "list", "Permission denied")

    monkeypatch.setattr(generations, "unnamed_files", refuse)
    trained(2).save_to_path(tmp_path)
    assert Agent.from_checkpoint(tmp_path).step == 2
    assert "Permission denied" in caplog.text


def test_a_first_saver_who_sees_another_leaves_the_plain_names_alone(in_place, tmp_path):
    (tmp_path / ".tune_ckpt-0123abcd").write_text("")
    trained().save_to_path(tmp_path)
    assert not {"state.pkl", "model/state.pkl"} & _files(tmp_path)
    assert Agent.from_checkpoint(tmp_path).step == 7


def test_a_commit_whose_answer_was_lost_is_a_commit(s3, bucket):
    filesystem = s3.filesystem()
    trained(1).save_to_path(f"{bucket}/c", filesystem=filesystem)

    def done_but_lost(handler, honest):
        honest()
        handler.close_connection = True

    once = "c/metadata.json"
    s3.trouble(done_but_lost, method="POST", key=once, query="uploadId")
    s3.trouble(denied, method="POST", key=once, query="uploadId", times=9)
    trained(2).save_to_path(f"{bucket}/c", filesystem=filesystem)
    assert Agent.from_checkpoint(f"{bucket}/c", filesystem).step == 2


def denied(handler, honest):
    handler.answer(403, [], b"<Error><Code>AccessDenied</Code></Error>")


# ----------------------------------------------------------------------------------- the kill test


ON_S3 = 8  # a kill takes a second there
IN_PLACE = {"msgpack": 3, "pickle": 6, "convert": 6}


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    ["msgpack", *(pytest.param(what, marks=pytest.mark.nightly) for what in ("pickle", "convert"))],
)
def test_killed_at_any_operation_on_s3_a_reader_finds_old_or_new(s3, bucket, what):
    filesystem, steps = s3.filesystem(), set()
    for n in killing.moments(ON_S3):
        path = f"{bucket}/{n}"
        trained(1).save_to_path(path, filesystem=filesystem, use_msgpack=False)
        code = killing.run(killing.do_on_s3_and_die, s3.endpoint, path, what, n)
        steps.add(Agent.from_checkpoint(path, filesystem).step)
        assert tc.verify(path, filesystem=filesystem).ok
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if random.random() < 0.2:  # what was left behind is in no later save's way
            trained(3).save_to_path(path, filesystem=filesystem)
            assert Agent.from_checkpoint(path, filesystem).step == 3
    assert n > 40
    assert steps == ({1} if what == "convert" else {1, 2})
    assert not tc.verify(path, filesystem=filesystem).warnings


@pytest.mark.slow
def test_killed_at_any_operation_of_a_first_save_on_s3_there_is_all_or_an_error(s3, bucket):
    filesystem = s3.filesystem()
    for n in killing.moments(4):
        path = f"{bucket}/{n}"
        code = killing.run(killing.do_on_s3_and_die, s3.endpoint, path, "msgpack", n)
        try:
            assert Agent.from_checkpoint(path, filesystem).step == 2
        except (IncompleteCheckpointError, NotACheckpointError):
            assert code == -signal.SIGKILL
        if random.random() < 0.2:  # what was left behind is in no later save's way
            trained(3).save_to_path(path, filesystem=filesystem)
            assert Agent.from_checkpoint(path, filesystem).step == 3
        if code == 0:
            break
    assert n > 40


@pytest.mark.slow
@pytest.mark.parametrize("what", IN_PLACE)
def test_killed_at_any_operation_in_place_a_reader_finds_old_or_new(tmp_path, what, in_place):
    steps = set()
    for n in killing.moments(IN_PLACE[what]):
        path = tmp_path / str(n)
        trained(1).save_to_path(path)
        code = killing.run(killing.do_in_place_and_die, str(path), what, n)
        steps.add(Agent.from_checkpoint(path).step)
        assert tc.verify(path).ok
        if code == 0:
            break
        assert code == -signal.SIGKILL
        trained(3).save_to_path(path)
        assert Agent.from_checkpoint(path).step == 3
    assert n > 40
    assert steps == ({1} if what == "convert" else {1, 2})


# ------------------------------------------------------------------------------------ concurrency


def _whole(agent):
    """Check that all parts of an agent are of one save, and return which."""
    assert agent.model.w[0] == agent.model.head.w[0] == agent.step
    return agent.step


def _read_while_written(path, filesystem_of, use_msgpack, reads, monkeypatch):
    filesystem = filesystem_of() if filesystem_of else None
    trained(0, size=50).save_to_path(path, filesystem=filesystem, use_msgpack=use_msgpack)
    monkeypatch.setattr(consistency, "_TRIES", 10_000)  # the writer never rests
    begun_again = []
    same = reading.OpenComponent.is_same_as
    monkeypatch.setattr(
        reading.OpenComponent,
        "is_same_as",
        lambda self, other: same(self, other) or begun_again.append(1) is not None,
    )
    steps = range(1, 100_000)
    args = (path, filesystem_of, steps, use_msgpack)
    writer = killing.PROCESSES.Process(target=killing.save_again_and_again, args=args)
    writer.start()
    try:
        found = set()
        while len(found) < reads or not begun_again:
            found.add(_whole(Agent.from_checkpoint(path, filesystem)))
            state = tc.load_state(path, filesystem=filesystem)
            assert state["model"]["w"][0] == state["model"]["head"]["w"][0] == state["step"]
            assert writer.is_alive()
    finally:
        writer.kill()
        writer.join()


@pytest.mark.slow
@pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])
def test_a_reader_sees_a_whole_checkpoint_while_a_writer_replaces_it(
    tmp_path, use_msgpack, monkeypatch
):
    _read_while_written(str(tmp_path / "c"), None, use_msgpack, 50, monkeypatch)


@pytest.mark.slow
def test_a_reader_sees_a_whole_checkpoint_while_a_writer_replaces_it_on_s3(s3, bucket, monkeypatch):
    _read_while_written(f"{bucket}/c", killing.S3At(s3.endpoint), True, 8, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("first", [True, False])
def test_of_two_who_save_at_once_one_is_there_whole(s3, bucket, tmp_path, where, first):
    at = killing.S3At(s3.endpoint) if where == "s3" else None
    filesystem = at() if at else None
    for n in range(2 if at else 5):
        path = f"{bucket}/{n}" if at else str(tmp_path / str(n))
        if not first:
            trained(0).save_to_path(path, filesystem=filesystem)
        args = [(path, at, [step], step == 2) for step in (1, 2)]
        target = killing.save_again_and_again
        both = [killing.PROCESSES.Process(target=target, args=a) for a in args]
        for process in both:
            process.start()
        for process in both:
            process.join()
        assert [process.exitcode for process in both] == [0, 0]
        assert _whole(Agent.from_checkpoint(path, filesystem)) in (1, 2)
        assert tc.verify(path, filesystem=filesystem).ok


def test_a_file_deleted_since_it_was_opened_is_missing(s3, bucket):
    filesystem = s3.filesystem()
    trained(1).save_to_path(f"{bucket}/c", filesystem=filesystem, use_msgpack=True)
    store = open_store(f"{bucket}/c/model", filesystem)
    with store.open("state.msgpack") as source:
        store.delete("state.msgpack")
        for nbytes in (39, source.nbytes):  # the server's answer fits into the second only
            with pytest.raises(StorageError) as caught:
                source.read_into(0, memoryview(bytearray(nbytes)))
            assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_damage_is_no_reason_to_begin_again(tmp_path, monkeypatch):
    trained().save_to_path(tmp_path / "c")
    (tmp_path / "c" / "state.pkl").write_bytes(b"x")
    reads = []
    with pytest.raises(CorruptDataError, match=r"state\.pkl"):
        consistency.consistently(
            open_store(tmp_path / "c"),
            lambda opened: reads.append(1) or opened.state(reading.ReadOptions()),
        )
    assert len(reads) == 1


def test_unnamed_files_are_all_there_are_when_asked(in_place, tmp_path):
    trained().save_to_path(tmp_path)
    (tmp_path / "state.0123abcd.pkl").write_bytes(b"")
    opened = open_tree(open_store(tmp_path))
    files = [*reading.named_files(opened), (opened.store, opened.metadata_file)]
    found = generations.unnamed_files(files, older_than=0)
    assert [name for _, name in found] == ["state.0123abcd.pkl"]
