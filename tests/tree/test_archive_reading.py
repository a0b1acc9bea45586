"""Every reader opens an archive like a folder, and reads no more of it than it needs."""

import shutil

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Agent, Weights, same_agents, trained
from tune_ckpt.errors import ComponentNotFoundError
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import LocalStore, open_store
from tune_ckpt.tree.storage.zip_format import ALIGNMENT
from tune_ckpt.tree.storage.zip_store import ZipStore


def test_an_object_comes_back_from_an_archive(archived):
    assert same_agents(Agent.from_checkpoint(archived), trained())
    assert same_agents(tc.restore_object(archived, Agent), trained())


def test_an_archive_is_verified_like_a_folder(saved, archived):
    report = tc.verify(archived)
    assert (report.ok, report.unverified, report.warnings) == (True, False, [])
    assert report.nbytes == tc.verify(saved).nbytes


def test_one_component_is_loaded_from_an_archive(archived):
    np.testing.assert_array_equal(tc.load_state(archived, "model/head")["w"], [7, -7])
    with pytest.raises(ComponentNotFoundError, match="nothing_there"):
        tc.load_state(archived, "nothing_there")


def test_parts_are_restored_from_an_archive(tmp_path):
    weights, step = Weights(3), 5
    weights.w = np.arange(3.0)
    tc.save({"weights": weights, "step": step}, tmp_path / "c")
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    other = Weights(3)
    assert tc.restore({"weights": other}, tmp_path / "c.zip") == {"step": 5}
    np.testing.assert_array_equal(other.w, weights.w)


def test_an_archive_is_converted_into_a_folder(archived, tmp_path):
    tc.convert_to_msgpack_checkpoint(archived, tmp_path / "d")
    assert same_agents(Agent.from_checkpoint(tmp_path / "d"), trained())


def test_an_archive_of_an_archive_is_the_same(archived, tmp_path):
    tc.archive(archived, tmp_path / "d.zip")
    assert (tmp_path / "d.zip").read_bytes() == archived.read_bytes()


def test_a_uri_a_relative_path_and_capitals_mean_an_archive_too(archived, monkeypatch):
    monkeypatch.chdir(archived.parent)
    shutil.copy(archived, "D.ZIP")
    for path in ("c.zip", "./c.zip", f"file://{archived}", "D.ZIP"):
        assert isinstance(open_store(path), ZipStore)
        assert tc.load_state(path)["step"] == 7


def test_a_folder_of_such_a_name_is_a_folder(tmp_path):
    trained().save_to_path(tmp_path / "c.zip")
    assert isinstance(open_store(tmp_path / "c.zip"), LocalStore)
    assert Agent.from_checkpoint(tmp_path / "c.zip").step == 7


def test_mapped_arrays_lie_in_the_file_and_do_not_change_it(tmp_path):
    agent = trained(size=2**17)
    agent.save_to_path(tmp_path / "c", use_msgpack=True)
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    before = (tmp_path / "c.zip").read_bytes()
    for _ in range(2):
        w = tc.load_state(tmp_path / "c.zip", "model", mmap=True)["w"]
        assert not w.flags.owndata
        assert w.ctypes.data % ALIGNMENT == 0
        np.testing.assert_array_equal(w, agent.model.w)
        w[:] = -1
    assert (tmp_path / "c.zip").read_bytes() == before


class _Counting(LocalStore):
    """Notes every read of its files."""

    def __init__(self, root):
        super().__init__(root)
        self.reads = []

    def open(self, name):
        context = super().open(name)
        source = context.__enter__()
        read = source.read_into

        def read_into(offset, *buffers):
            self.reads.append((offset, sum(buffer.nbytes for buffer in buffers)))
            read(offset, *buffers)

        source.read_into = read_into
        return _Entered(source, context)


class _Entered:
    def __init__(self, source, context):
        self._source = source
        self._context = context

    def __enter__(self):
        return self._source

    def __exit__(self, *error):
        self._context.__exit__(None, None, None)


def test_the_directory_takes_one_read_and_a_component_only_its_own(tmp_path):
    agent = trained(size=2**17)
    agent.save_to_path(tmp_path / "c", use_msgpack=True)
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    folder = _Counting(tmp_path)
    store = ZipStore.open_file(folder, "c.zip")
    assert folder.reads == []
    store.list()
    assert len(folder.reads) == 1
    open_tree(store).child("model/head").state(ReadOptions())
    assert sum(nbytes for _, nbytes in folder.reads) < 2**17  # the model has 2**20


def test_a_large_directory_takes_two_reads(tmp_path):
    tc.save({f"part {i:03}": Weights(1) for i in range(300)}, tmp_path / "c")
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    folder = _Counting(tmp_path)
    assert len(ZipStore.open_file(folder, "c.zip").list()) == 302
    assert len(folder.reads) == 2


def test_who_replaces_an_archive_does_not_disturb_its_reader(saved, archived, tmp_path):
    opened = open_tree(open_store(archived))
    trained(step=8).save_to_path(saved)
    tc.archive(saved, archived)
    assert opened.state(ReadOptions())["step"] == 7
    assert tc.load_state(archived)["step"] == 8
