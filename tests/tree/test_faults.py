"""Whatever the storage refuses, and whenever: a clear error, and the old checkpoint as it was."""

import errno
import os
import subprocess
import threading
import time
from functools import partial

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Agent, trained
from tests.tree.faults import Failing, FaultyStore, refusal_of
from tune_ckpt.errors import IncompleteCheckpointError, NotACheckpointError, StorageError
from tune_ckpt.objects.saving import component_of
from tune_ckpt.tree import removing, staging
from tune_ckpt.tree.inspection import verify
from tune_ckpt.tree.packing import pack_tree
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import LocalStore
from tune_ckpt.tree.writing import write_packed

AGENT = trained(step=2)


def save_with(before, path, format="msgpack", *, durable=False, base=None):
    store = FaultyStore(path, before)
    packed = pack_tree(component_of(AGENT), format)
    return write_packed(store.durable() if durable else store, packed, base)


@pytest.mark.parametrize(
    ("format", "code"),
    [("pickle", errno.EIO), ("msgpack", errno.ENOSPC), ("msgpack", errno.EACCES)],
)
@pytest.mark.parametrize("first", [True, False])
def test_failing_at_every_operation_leaves_the_old_one(tmp_path, format, code, first):
    steps = set()
    for n in range(1, 1000):
        path = tmp_path / str(n) / "c"
        if not first:
            trained(step=1).save_to_path(path, use_msgpack=True)
        fault = Failing(n, code)
        error = refusal_of(partial(save_with, fault, path, format))
        assert bool(error) == bool(fault.failed)
        assert not error or (os.strerror(code) in str(error) and str(path.parent) in str(error))
        if first and not path.exists():
            assert not [*path.parent.glob("*")]
        else:
            steps.add(Agent.from_checkpoint(path).step)
            assert tc.verify(path).ok
            assert os.listdir(path.parent) == ["c"]
        if not fault.failed:
            break
    assert n > 15
    assert steps == ({2} if first else {1, 2})


@pytest.mark.parametrize("staged", [True, False])
def test_failing_at_every_operation_of_a_deletion(tmp_path, monkeypatch, staged):
    if not staged:
        monkeypatch.setattr(removing, "can_stage", lambda _: False)
    gone = 0
    for n in range(1, 1000):
        path = tmp_path / str(n) / "c"
        trained(step=1).save_to_path(path)
        fault = Failing(n)
        store = FaultyStore(path, fault)
        monkeypatch.setattr(removing, "open_store", lambda *_, store=store: store)
        error = refusal_of(partial(tc.delete_checkpoint, path))
        assert bool(error) == bool(fault.failed)
        try:
            assert Agent.from_checkpoint(path).step == 1
            assert tc.verify(path).ok
        except (NotACheckpointError, IncompleteCheckpointError):
            gone += 1
        if not fault.failed:
            break
    assert n > 3
    assert gone
    assert not path.exists() or os.listdir(path) == []


def _wait_for(what, seen, failures):
    while what not in seen and not failures:
        time.sleep(0.001)


def test_a_slow_disk_shows_a_reader_one_whole_checkpoint_at_every_moment(tmp_path):
    trained(step=1).save_to_path(tmp_path / "c", use_msgpack=True)
    seen, failures, done = set(), [], threading.Event()

    def read():
        while not done.is_set():
            try:
                state = tc.load_state(tmp_path / "c")
                seen.add((state["step"], state["model"]["w"][0], state["model"]["head"]["w"][0]))
            except tc.TuneCkptError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    _wait_for((1, 1.0, 1.0), seen, failures)
    save_with(lambda _: time.sleep(0.005), tmp_path / "c")
    _wait_for((2, 2.0, 2.0), seen, failures)
    done.set()
    reader.join()
    assert not failures
    assert seen == {(1, 1.0, 1.0), (2, 2.0, 2.0)}


def test_a_checkpoint_replaced_while_it_is_verified_is_verified_again(tmp_path, monkeypatch):
    path = tmp_path / "c"
    for n in range(1, 100):
        trained(step=1).save_to_path(path, use_msgpack=True)
        left = [n]

        def replace(_, left=left):
            left[0] -= 1
            if left[0] == 0:
                trained(step=2).save_to_path(path)

        monkeypatch.setattr(verify, "open_store", lambda *_, do=replace: FaultyStore(path, do))
        report = tc.verify(path)
        assert report.ok, report
        assert not report.warnings
        if left[0] > 0:
            break
    assert n > 20


@pytest.fixture
def steps(monkeypatch):
    """What a save does for durability, in order: what, and the name of which file."""
    order = []

    def spied(what, function):
        def call(*args):
            path = args[-1]
            if isinstance(path, int):
                path = os.readlink(f"/proc/self/fd/{path}")
            order.append((what, os.path.basename(path)))
            return function(*args)

        return call

    monkeypatch.setattr(os, "fsync", spied("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", spied("name", os.replace))
    monkeypatch.setattr(staging, "_swap", spied("swap", staging._swap))
    return order


def test_durable_writing_syncs_each_file_before_its_name_and_folders_before_the_swap(
    tmp_path, steps
):
    trained(step=1).save_to_path(tmp_path / "c")
    steps.clear()
    AGENT.save_to_path(tmp_path / "c", use_msgpack=True, durable=True)
    named = [place for place, (what, _) in enumerate(steps) if what == "name"]
    assert len(named) == 9
    for place in named:
        before, (_, name), after = steps[place - 1 : place + 2]
        assert before[0] == "fsync"
        assert before[1].startswith(f".{name}.tune_ckpt-")
        assert after[0] == "fsync"  # the folder with that name in it
    swap = steps.index(("swap", "c"))
    assert steps[swap - 1][0] == "fsync"
    assert steps[swap - 1][1].startswith(".c.tune_ckpt-")
    assert steps[swap + 1 :] == [("fsync", tmp_path.name)]
    assert Agent.from_checkpoint(tmp_path / "c").step == 2


def test_the_folders_made_for_a_durable_checkpoint_are_synced(tmp_path, steps):
    AGENT.save_to_path(tmp_path / "new" / "deep" / "c", durable=True)
    swap = steps.index(("swap", "c"))
    assert {("fsync", tmp_path.name), ("fsync", "new")} <= {*steps[:swap]}
    assert steps[swap + 1 :] == [("fsync", "deep")]


def test_what_is_taken_over_from_a_base_is_synced_too(tmp_path, steps):
    AGENT.save_to_path(tmp_path / "1", use_msgpack=True)
    steps.clear()
    AGENT.save_to_path(tmp_path / "2", use_msgpack=True, base=tmp_path / "1", durable=True)
    assert steps.count(("fsync", "state.msgpack")) == 3


def test_saves_are_not_synced_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("synced"))
    AGENT.save_to_path(tmp_path / "c")


# ------------------------------------------------------------------------------ real refusals


@pytest.fixture
def tiny_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a disk of 1 MiB can be mounted only by root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_a_full_disk(tiny_disk, format):
    small, large = {"w": np.ones(50_000)}, {"w": np.ones(100_000)}
    tc.save_state(small, tiny_disk / "c", format=format)
    with pytest.raises(StorageError, match="No space left on device"):
        tc.save_state(large, tiny_disk / "c", format=format)
    assert tc.load_state(tiny_disk / "c")["w"].size == 50_000
    assert os.listdir(tiny_disk) == ["c"]
    with pytest.raises(StorageError, match="No space left on device"):
        tc.save_state(large, tiny_disk, format=format)  # a mount point: nothing to exchange
    assert tc.load_state(tiny_disk / "c")["w"].size == 50_000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tc.save_state({"a": 1}, tmp_path / "f" / "c")
    for folder in (tmp_path / "f" / "c", tmp_path / "f"):
        folder.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        tc.save_state({"a": 2}, tmp_path / "f" / "c")
    with pytest.raises(StorageError, match="Permission denied"):
        tc.save_state({"a": 2}, tmp_path / "f" / "new")
    assert tc.load_state(tmp_path / "f" / "c") == {"a": 1}


def test_a_read_only_disk(tiny_disk):
    tc.save_state({"a": 1}, tiny_disk / "c")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    for path in (tiny_disk / "c", tiny_disk / "new", tiny_disk):
        with pytest.raises(StorageError, match="Read-only file system"):
            tc.save_state({"a": 2}, path)
    assert tc.load_state(tiny_disk / "c") == {"a": 1}
    assert tc.verify(tiny_disk / "c").ok


def test_a_folder_that_cannot_be_staged_is_replaced_in_one_step_too(tiny_disk):
    for step in (1, 2, 3):
        trained(step=step, size=20).save_to_path(tiny_disk, use_msgpack=step % 2 == 0)
        assert Agent.from_checkpoint(tiny_disk).step == step
        assert not tc.verify(tiny_disk).warnings
    assert open_tree(LocalStore(tiny_disk)).metadata.files["state"].name != "state.pkl"
