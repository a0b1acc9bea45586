"""Storage: the local disk, and any pyarrow filesystem."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Agent, trained
from tune_ckpt.errors import CorruptDataError, InvalidArgumentError, StorageError
from tune_ckpt.tree.storage.store import LocalStore, open_store


@pytest.fixture
def remote(tmp_path):
    """A filesystem that is no local one to us."""
    (tmp_path / "bucket").mkdir()
    return fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())


def test_an_unknown_scheme_is_an_error_that_names_it():
    with pytest.raises(StorageError, match="nowhere://bucket"):
        tc.load_state("nowhere://bucket/c")


def test_a_tilde_is_the_home_as_in_rays_storage_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tc.save_state({"x": 1}, "~/runs/1")
    assert tc.load_state(tmp_path / "runs" / "1") == {"x": 1}
    assert open_store(Path("~/runs")).location == str(tmp_path / "runs")


class BytesPath(os.PathLike):
    def __fspath__(self):
        return b"c"


@pytest.mark.parametrize("path", [None, 7, "a\0b", BytesPath()])
def test_what_is_no_path_is_an_error_of_ours(path):
    with pytest.raises(InvalidArgumentError, match="it may be: a local path"):
        tc.load_state(path)


@pytest.mark.parametrize("filesystem", [7, "s3"])
def test_what_is_no_filesystem_is_an_error_of_ours(filesystem):
    with pytest.raises(InvalidArgumentError, match=r"filesystem=.*may be: a pyarrow"):
        tc.load_state("c", filesystem=filesystem)


def test_a_uri_that_pathlib_cut_is_no_local_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for uri in ("s3://bucket/c", "file:///c"):
        with pytest.raises(InvalidArgumentError, match="pathlib takes one away"):
            tc.save_state({}, Path(uri))
    assert tc.save_state({}, "./s3:/c").path == str(tmp_path / "s3:" / "c")


def test_a_ray_checkpoint_is_a_path(tmp_path):
    from ray.tune import Checkpoint

    trained().save_to_path(tmp_path / "c")
    assert tc.load_state(Checkpoint(str(tmp_path / "c")))["step"] == 7


def test_a_bucket_has_the_path_that_its_uri_has(remote):
    assert open_store("", remote).path("bucket") == "subtree://bucket"
    assert open_store("/").path("c") == "/c"


def test_a_relative_path_needs_no_filesystem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained().save_to_path("c")
    assert Agent.from_checkpoint("c").step == 7


def test_mapped_arrays_are_writable_and_leave_the_file_alone(tmp_path):
    trained().save_to_path(tmp_path / "c", use_msgpack=True)
    for _ in range(2):
        w = tc.load_state(tmp_path / "c", "model", mmap=True)["w"]
        assert w[0] == 7
        w[0] = -1
        assert w[0] == -1


def test_damage_on_another_filesystem_is_noticed(remote, tmp_path):
    trained().save_to_path("c", filesystem=remote, use_msgpack=True)
    file = tmp_path / "bucket" / "c" / "model" / "state.msgpack"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptDataError, match=r"model/state\.msgpack"):
        tc.load_state("c", filesystem=remote)


def test_arrays_that_are_written_and_read_at_the_same_time_come_back(tmp_path):
    arrays = {str(i): np.random.default_rng(i).random(2**18) for i in range(8)}
    tc.save_state(arrays, tmp_path / "c")
    loaded = tc.load_state(tmp_path / "c")
    assert all(np.array_equal(arrays[name], loaded[name]) for name in arrays)


def test_a_disk_that_cannot_reserve_space_is_written_to_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    tc.save_state({"a": 1}, tmp_path / "c")
    assert tc.load_state(tmp_path / "c") == {"a": 1}


class Refusing(MemoryFileSystem):
    """A filesystem on which one call, the first of its kind, fails."""

    protocol = "refusing"
    cachable = False

    def __init__(self, call, error):
        super().__init__()
        self.store, self.pseudo_dirs, self._fails = {}, [""], {call: error}

    def _refuse(self, call):
        if call in self._fails:
            raise self._fails.pop(call)

    def mkdir(self, *args, **kwargs):
        self._refuse("mkdir")
        return super().mkdir(*args, **kwargs)

    def mv(self, *args, **kwargs):
        self._refuse("mv")
        return super().mv(*args, **kwargs)


def test_a_file_that_cannot_have_its_name_does_not_stay_under_another():
    store = open_store("c", Refusing("mv", OSError("no")))
    store.make()
    with pytest.raises(StorageError, match=r"Cannot write .*c/metadata\.json"):
        store.write_bytes("metadata.json", b"{}")
    assert store.list() == []


def test_making_a_folder_is_tried_again():
    store = open_store("c", Refusing("mkdir", ConnectionResetError()))
    store.make()
    assert store.list() == []


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error(tmp_path):
    store = LocalStore(tmp_path)
    store.write_bytes("x", b"a" * 10_000)
    with store.open("x") as source:
        os.truncate(tmp_path / "x", 5_000)
        with pytest.raises(StorageError, match="it ended at byte 5000 while being read"):
            source.read_into(0, memoryview(bytearray(10_000)))
        with pytest.raises(StorageError, match="map"):
            source.mapped()
