"""Saving with a base: what has not changed is taken over, and is verified like all else."""

import os
import shutil

import numpy as np
import pytest
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Agent, trained
from tune_ckpt.errors import NotACheckpointError
from tune_ckpt.tree.metadata import Metadata
from tune_ckpt.tree.storage.local import LocalStore

FROZEN, HEAD = np.arange(50_000.0), np.arange(500.0)


class Part(tc.Checkpointable):
    def __init__(self, array):
        self.array = array

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.array}

    def set_state(self, state):
        self.array = state["w"]


def parts(head=HEAD, frozen=FROZEN):
    return {"body": Part(frozen), "head": Part(head), "step": 1}


def inode(path):
    return os.stat(path).st_ino


@pytest.mark.parametrize("format", ["msgpack", "pickle"])
def test_only_what_changed_is_written(tmp_path, format):
    tc.save(parts(), tmp_path / "1", format=format)
    saved = tc.save(parts(HEAD + 1), tmp_path / "2", format=format, base=tmp_path / "1")
    assert 0.9 < saved.reused_nbytes / saved.nbytes < 1
    [state] = [path.name for path in (tmp_path / "1" / "body").glob("state.*")]
    assert inode(tmp_path / "1" / "body" / state) == inode(tmp_path / "2" / "body" / state)
    assert inode(tmp_path / "1" / "head" / state) != inode(tmp_path / "2" / "head" / state)
    assert tc.verify(tmp_path / "2").ok
    assert tc.load_state(tmp_path / "2")["head"]["w"][0] == 1
    written = tc.save(parts(HEAD + 1), tmp_path / "3", format=format)
    assert (saved.digest, saved.nbytes) == (written.digest, written.nbytes)


def test_the_metadata_tells_the_base_and_what_was_saved(tmp_path):
    first = tc.save(parts(), tmp_path / "1")
    second = tc.save(parts(), tmp_path / "2", base=tmp_path / "1")
    data = (tmp_path / "2" / "metadata.json").read_bytes()
    facts = Metadata.from_json(data, "2").facts
    assert facts["base"] == {"digest": first.digest, "reused_nbytes": second.reused_nbytes}
    assert second.reused_nbytes == second.nbytes > 400_000


def test_the_base_may_be_deleted(tmp_path):
    tc.save(parts(), tmp_path / "1")
    tc.save(parts(HEAD + 1), tmp_path / "2", base=tmp_path / "1")
    tc.delete_checkpoint(tmp_path / "1")
    assert tc.verify(tmp_path / "2").ok
    assert np.array_equal(tc.load_state(tmp_path / "2", "body")["w"], FROZEN)


def test_a_checkpoint_is_the_base_of_its_own_successor(tmp_path):
    tc.save(parts(), tmp_path / "c")
    saved = tc.save(parts(HEAD + 1), tmp_path / "c", base=tmp_path / "c")
    assert saved.reused_nbytes > 400_000
    assert tc.load_state(tmp_path / "c")["head"]["w"][0] == 1
    assert tc.verify(tmp_path / "c").ok


def test_an_object_saves_with_a_base_too(tmp_path):
    agent = trained(step=1)
    agent.save_to_path(tmp_path / "1", use_msgpack=True)
    agent.step = 2
    agent.save_to_path(tmp_path / "2", use_msgpack=True, base=tmp_path / "1")
    model = "model/state.msgpack"
    assert inode(tmp_path / "1" / model) == inode(tmp_path / "2" / model)
    assert Agent.from_checkpoint(tmp_path / "2").step == 2


@pytest.mark.parametrize("name", ["state.msgpack", "metadata.json"])
def test_a_damaged_base_is_not_inherited(tmp_path, caplog, name):
    tc.save(parts(), tmp_path / "1")
    file = tmp_path / "1" / "body" / name
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    saved = tc.save(parts(HEAD + 1), tmp_path / "2", base=tmp_path / "1")
    assert tc.verify(tmp_path / "2").ok
    assert saved.reused_nbytes < 5_000
    assert f"body/{name}" in caplog.text


def test_another_format_is_no_base_but_no_error(tmp_path):
    tc.save(parts(), tmp_path / "1", format="pickle")
    assert tc.save(parts(), tmp_path / "2", base=tmp_path / "1").reused_nbytes == 0


def test_nothing_there_is_no_base(tmp_path):
    with pytest.raises(NotACheckpointError):
        tc.save(parts(), tmp_path / "2", base=tmp_path / "1")
    assert not (tmp_path / "2").exists()


def test_storage_copies_by_itself(tmp_path):
    subtree = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    tc.save(parts(), "1", filesystem=subtree)
    saved = tc.save(parts(HEAD + 1), "2", base="1", filesystem=subtree)
    assert saved.reused_nbytes > 400_000
    assert tc.verify("2", filesystem=subtree).ok
    shutil.rmtree(tmp_path / "1")
    assert np.array_equal(tc.load_state("2", "body", filesystem=subtree)["w"], FROZEN)


def test_what_cannot_be_linked_is_written(tmp_path, monkeypatch):
    tc.save(parts(), tmp_path / "1")
    monkeypatch.setattr(LocalStore, "take", lambda *_: False)
    saved = tc.save(parts(), tmp_path / "2", base=tmp_path / "1")
    assert saved.reused_nbytes == 0
    assert tc.verify(tmp_path / "2").ok
