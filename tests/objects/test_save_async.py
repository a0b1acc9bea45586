"""Saving in the background: a true snapshot, one at a time, and no error or save is lost."""

import copy
import gc
import json
import os
import pickle
import random
import subprocess
import sys
import threading
import weakref
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tune_ckpt as tc
from tests.agents import Agent, Weights, same_agents, trained
from tests.conftest import REPO
from tests.formats import strategies
from tests.formats.comparing import assert_same
from tune_ckpt.errors import SaveInFlightError, StorageError, UnsupportedStateError
from tune_ckpt.formats import msgpack
from tune_ckpt.objects import background
from tune_ckpt.tree.snapshot import Arena
from tune_ckpt.tree.storage import store as storage

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


@contextmanager
def held():
    """Nothing is written before the context yields an event that is set, at its end at the latest.

    Yields:
        The event, and the list of paths whose writing has begun.
    """
    gate, begun, write = threading.Event(), [], background.write_tree

    def held_write(packed, path, **options):
        begun.append(Path(path))
        gate.wait()
        return write(packed, path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "write_tree", held_write)
        try:
            yield gate, begun
        finally:
            gate.set()


@contextmanager
def failing():
    """Every background save in the context fails."""

    def refuse(packed, path, **options):
        raise StorageError(str(path), "write", "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "write_tree", refuse)
        yield


# ------------------------------------------------------------------------------------ the snapshot


@FORMATS
def test_what_is_saved_is_the_object_as_it_was(tmp_path, use_msgpack):
    agent = trained(step=7, size=50_000)
    with held() as (gate, _):
        pending = agent.save_async(tmp_path / "c", use_msgpack=use_msgpack)
        assert not pending.done()
        agent.step = 8
        agent.model.w += 1
        agent.model.head.w[:] = 0
        gate.set()
        assert pending.result().path == str(tmp_path / "c")
    assert pending.done()
    assert same_agents(Agent.from_checkpoint(tmp_path / "c"), trained(step=7, size=50_000))


@FORMATS
def test_it_is_the_same_checkpoint_as_a_blocking_one(tmp_path, use_msgpack):
    agent = trained(size=50_000)
    agent.save_to_path(tmp_path / "a", use_msgpack=use_msgpack)
    saved = agent.save_async(tmp_path / "b", use_msgpack=use_msgpack).result()
    assert tc.diff(tmp_path / "a", tmp_path / "b").equal
    assert saved.digest == _metadata(tmp_path / "a")["tune_ckpt"]["digest"]


def _metadata(path):
    return json.loads((path / "metadata.json").read_text())


def test_saving_without_a_class_and_taking_over_what_has_not_changed(tmp_path):
    model, other = trained().model, trained(step=9).model
    tc.save_async({"model": model, "other": other, "step": 3}, tmp_path / "a").result()
    model.w += 1
    after = tc.save_async({"model": model, "other": other}, tmp_path / "b", base=tmp_path / "a")
    assert 0 < after.result().reused_nbytes < after.result().nbytes
    assert tc.restore({"model": trained().model, "other": other}, tmp_path / "a") == {"step": 3}


def _spoil(value, seen):
    """Change everything in a state that can be changed."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, dict):
        for child in [*value, *value.values()]:
            _spoil(child, seen)
        value.clear()
    elif isinstance(value, list | tuple | set | frozenset):
        for child in value:
            _spoil(child, seen)
        if not isinstance(value, tuple | frozenset):
            value.clear()
    elif isinstance(value, np.ndarray):
        if value.flags.writeable and value.dtype.kind in "biufc":
            with np.errstate(all="ignore"):
                value[...] = np.logical_not(value)
    elif isinstance(value, bytearray):
        value[:] = bytes(len(value))
    elif isinstance(value, random.Random):
        value.random()


large = st.integers(0, 2**32).map(lambda seed: np.random.default_rng(seed).normal(size=700))
leaves = strategies.plain_arrays | large | strategies.python_random() | st.binary().map(bytearray)
states = st.dictionaries(
    st.text("abc", max_size=3),
    st.recursive(
        leaves | st.integers() | st.sets(st.integers()),
        lambda inner: st.lists(inner, max_size=3) | strategies.dicts(inner),
        max_leaves=8,
    ),
    max_size=4,
)


@given(state=states)
def test_whatever_changes_after_the_call_is_not_in_the_snapshot(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("snapshot") / "c"
    before = msgpack.dumps(state)
    part = Weights()
    part.get_state = lambda: state
    with held() as (gate, _):
        pending = part.save_async(path, use_msgpack=True)
        _spoil(state, {})
        gate.set()
        pending.result()
    assert_same(tc.load_state(path), msgpack.loads(before))


@FORMATS
def test_tensors_are_copied(tmp_path, use_msgpack):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(200, 300)
    before = copy.deepcopy(model.state_dict())
    with held():
        format = "msgpack" if use_msgpack else "pickle"
        pending = tc.save_async({"model": model}, tmp_path / "c", format=format)
        with torch.no_grad():
            model.weight.zero_()
    pending.result()
    saved = tc.load_state(tmp_path / "c", "model")
    assert torch.equal(saved["weight"], before["weight"])


def test_metadata_is_as_it_was_too(tmp_path):
    facts = {"note": ["a"]}
    part = Weights()
    part.get_metadata = lambda: facts
    with held():
        pending = part.save_async(tmp_path / "c", use_msgpack=True)
        facts["note"].append("b")
    pending.result()
    assert _metadata(tmp_path / "c")["note"] == ["a"]


def test_a_relative_path_is_one_of_the_folder_in_which_it_was_given(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    trained().save_to_path("base")
    with held():
        pending = trained().save_async("c", base="base")
        monkeypatch.chdir("elsewhere")
    assert pending.result().reused_nbytes > 0
    assert pending.path == pending.result().path == str(tmp_path / "c")
    assert tc.verify(tmp_path / "c").ok


def test_a_uri_is_opened_in_the_background(tmp_path, monkeypatch):
    opened_by = []

    def opened(uri):
        opened_by.append(threading.current_thread())
        return None, str(tmp_path / "c")

    monkeypatch.setattr(storage, "_from_uri", opened)
    pending = trained().save_async("s3://bucket/c")
    assert pending.result().path == pending.path == "s3://bucket/c"
    assert opened_by
    assert threading.main_thread() not in opened_by


def test_the_memory_of_a_snapshot_is_used_again(tmp_path):
    arena = Arena()
    (first,) = arena.copies([memoryview(bytes(range(250)))])
    address = np.frombuffer(first, np.uint8).ctypes.data
    first, second = arena.copies([memoryview(b"a" * 100), memoryview(b"b" * 70)])
    assert np.frombuffer(first, np.uint8).ctypes.data == address
    assert (bytes(first), bytes(second)) == (b"a" * 100, b"b" * 70)
    assert arena.copies([]) == []


# ---------------------------------------------------------------------------------- one at a time


def test_the_next_save_waits_for_the_one_before(tmp_path):
    agent = trained(step=1)
    with held() as (gate, begun):
        first = agent.save_async(tmp_path / "1", use_msgpack=True)
        agent.step = 2
        opener = threading.Timer(0.05, gate.set)  # while the next line waits
        opener.start()
        second = agent.save_async(tmp_path / "2", use_msgpack=True)
        assert first.done()
        second.result()
        opener.join()
    assert begun == [tmp_path / "1", tmp_path / "2"]
    assert [Agent.from_checkpoint(tmp_path / name).step for name in "12"] == [1, 2]


def test_it_raises_instead_of_waiting_when_asked(tmp_path):
    agent = trained()
    with held() as (_, begun):
        agent.save_async(tmp_path / "1")
        with pytest.raises(SaveInFlightError, match="1 is not finished"):
            agent.save_async(tmp_path / "2", wait=False)
        assert begun == [tmp_path / "1"]
    agent.save_async(tmp_path / "2").result()
    agent.save_async(tmp_path / "3", wait=False).result()


def test_two_objects_are_saved_at_the_same_time(tmp_path):
    one, other = trained(step=1), trained(step=2)
    with held():
        pending = [one.save_async(tmp_path / "1"), other.save_async(tmp_path / "2")]
        assert not any(save.done() for save in pending)
    assert [save.result().path for save in pending] == [str(tmp_path / name) for name in "12"]


def test_a_blocking_save_comes_after_the_one_in_the_background(tmp_path):
    agent = trained(step=1)
    with held() as (gate, _):
        agent.save_async(tmp_path / "c")
        agent.step = 2
        opener = threading.Timer(0.05, gate.set)
        opener.start()
        agent.save_to_path(tmp_path / "c")
        opener.join()
    assert Agent.from_checkpoint(tmp_path / "c").step == 2


def test_waiting_has_a_limit_when_asked(tmp_path):
    with held():
        pending = trained().save_async(tmp_path / "c")
        with pytest.raises(TimeoutError, match=r"not ended within 0\.01 s"):
            pending.result(0.01)
    assert pending.result(60).path == str(tmp_path / "c")


def test_an_interrupted_wait_forgets_no_save(tmp_path, monkeypatch):
    agent, wait = trained(), background.wait
    interrupted = iter([True])

    def interrupted_once(*args):
        if next(interrupted, False):
            raise KeyboardInterrupt
        return wait(*args)

    with held():
        first = agent.save_async(tmp_path / "1")
        monkeypatch.setattr(background, "wait", interrupted_once)
        with pytest.raises(KeyboardInterrupt):
            agent.save_async(tmp_path / "2")
        with pytest.raises(SaveInFlightError):
            agent.save_async(tmp_path / "2", wait=False)
    assert first.result().path == str(tmp_path / "1")


# ----------------------------------------------------------------------------------------- errors


def test_an_error_comes_out_of_the_result(tmp_path, caplog):
    agent = trained()
    with failing():
        pending = agent.save_async(tmp_path / "c")
        with pytest.raises(StorageError, match="No space left"):
            pending.result()
    assert "background save" in caplog.text
    agent.save_async(tmp_path / "c").result()  # the error has been told


@pytest.mark.parametrize("how", ["save_async", "save_to_path"])
def test_an_error_that_nobody_asked_for_comes_out_of_the_next_save(tmp_path, how):
    agent = trained()
    with failing():
        agent.save_async(tmp_path / "1")
        with pytest.raises(StorageError, match=r"1: No space left"):
            getattr(agent, how)(tmp_path / "2")
    assert not (tmp_path / "2").exists()
    getattr(agent, how)(tmp_path / "2")  # once only


def test_what_cannot_be_written_is_said_at_once(tmp_path):
    with pytest.raises(UnsupportedStateError, match="step"):
        tc.save_async({"step": memoryview(b"")}, tmp_path / "c")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------ objects, processes


def test_an_object_that_was_saved_can_be_pickled_and_its_memory_is_freed(tmp_path):
    agent = trained()
    agent.save_async(tmp_path / "c", use_msgpack=True).result()
    assert same_agents(pickle.loads(pickle.dumps(copy.deepcopy(agent))), agent)
    saver = weakref.ref(background.saver_of(agent))
    del agent
    gc.collect()
    assert saver() is None


AT_EXIT = """
import sys, threading
import pyarrow.fs
import tune_ckpt as tc
from tests.agents import trained
from tune_ckpt.objects import background

exiting, wait, write = threading.Event(), background.wait, background.write_tree

def noticed(*args):
    exiting.set()
    return wait(*args)

def late(*args, **options):
    exiting.wait()
    return write(*args, **options)

background.wait, background.write_tree = noticed, late
filesystem = pyarrow.fs.LocalFileSystem() if sys.argv[2] == "arrow" else None
trained(size=2_000_000).save_async(sys.argv[1], use_msgpack=True, filesystem=filesystem)
"""


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["local", "arrow"])
def test_a_program_ends_when_its_save_has_ended(tmp_path, storage):
    # Both kinds of storage use pools of threads, for which it must not be too late.
    run = [sys.executable, "-c", AT_EXIT, str(tmp_path / "c"), storage]
    done = subprocess.run(run, cwd=REPO, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert Agent.from_checkpoint(tmp_path / "c").step == 7


FORKED = """
import multiprocessing, sys, threading
from tests.agents import trained
from tune_ckpt.objects import background

gate, write = threading.Event(), background.write_tree

def late(*args, **options):
    gate.wait()
    return write(*args, **options)

def child(path):
    gate.set()
    agent.step = 2
    agent.save_async(path + "/child").result()

background.write_tree = late
agent = trained(step=1)
agent.save_async(sys.argv[1] + "/parent")
process = multiprocessing.get_context("fork").Process(target=child, args=(sys.argv[1],))
process.start()
process.join()
assert process.exitcode == 0
gate.set()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_does_not_wait_for_its_parents_save(tmp_path):
    run = [sys.executable, "-c", FORKED, str(tmp_path)]
    subprocess.run(run, cwd=REPO, check=True)
    steps = [Agent.from_checkpoint(tmp_path / name).step for name in ("parent", "child")]
    assert steps == [1, 2]
