"""One file: what `archive` makes, and that every reader opens it like a folder."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Agent, Weights, same_agents, trained
from tests.tree.forging_zip import zipped
from tune_ckpt.errors import (
    ComponentNotFoundError,
    CorruptDataError,
    InvalidArgumentError,
    InvalidNameError,
    StorageError,
)
from tune_ckpt.tree import archive as archiving
from tune_ckpt.tree import writing
from tune_ckpt.tree.files import ReadOptions
from tune_ckpt.tree.layout import FileNames, check_names
from tune_ckpt.tree.metadata import FileRecord, Metadata
from tune_ckpt.tree.packing import Component, pack_tree
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import LocalStore, open_store
from tune_ckpt.tree.storage.zip_format import ALIGNMENT
from tune_ckpt.tree.storage.zip_store import ZipStore
from tune_ckpt.tree.writing import write_packed


@pytest.fixture(params=["pickle", "msgpack"])
def saved(request, tmp_path):
    trained().save_to_path(tmp_path / "c", use_msgpack=request.param == "msgpack")
    return tmp_path / "c"


@pytest.fixture
def archived(saved, tmp_path):
    assert tc.archive(saved, tmp_path / "c.zip") == str(tmp_path / "c.zip")
    return tmp_path / "c.zip"


def _content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ------------------------------------------------------------------------------ what it is


def test_a_zip_tool_finds_the_files_of_the_folder(saved, archived):
    with zipfile.ZipFile(archived) as file:
        assert {name: file.read(name) for name in file.namelist()} == _content(saved)


def test_what_another_tool_unpacks_is_a_checkpoint(archived, tmp_path):
    with zipfile.ZipFile(archived) as file:
        file.extractall(tmp_path / "d")
    report = tc.verify(tmp_path / "d")
    assert (report.ok, report.warnings) == (True, [])
    assert Agent.from_checkpoint(tmp_path / "d").step == 7


@pytest.mark.parametrize("tool", [[sys.executable, "-m", "zipfile", "-t"], ["unzip", "-tqq"]])
def test_zip_tools_find_no_fault(archived, tool):
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed")
    run = subprocess.run([*tool, archived], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_entry_is_stored_and_aligned(archived):
    data = archived.read_bytes()
    with zipfile.ZipFile(archived) as file:
        for info in file.infolist():
            lengths = data[info.header_offset + 26 : info.header_offset + 30]
            name, extra = (int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
            assert info.compress_type == zipfile.ZIP_STORED
            assert (info.header_offset + 30 + name + extra) % ALIGNMENT == 0


def test_equal_checkpoints_give_equal_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_facts", dict)
    monkeypatch.setattr(writing, "new_save", lambda: "0" * 8)
    for name in ("a", "b"):
        trained().save_to_path(tmp_path / name, use_msgpack=True)
        tc.archive(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_golden_bytes():
    """A change of these bytes is a change of the format: older archives would be refused."""
    data = zipped([("metadata.json", b"{}"), ("größe/state.msgpack", bytes(range(100)))])
    assert len(data) == 376
    assert (
        hashlib.sha256(data).hexdigest()
        == "91f85f716ae9e90287464ff101b5dee6d38c12de237fe1b840755a82d2969c0c"
    )


def test_golden_tree(tmp_path):
    """Like the one above; it also changes when `metadata.json` does."""
    data = b"\x80\x04}\x94."  # pickle.dumps({}, 4)
    record = FileRecord("state.pkl", len(data), xxhash.xxh3_128_hexdigest(data))
    store = LocalStore(tmp_path / "c")
    store.make()
    store.write_bytes("state.pkl", data)
    metadata = Metadata("builtins:dict", "pickle", {"state": record})
    store.write_bytes("metadata.json", metadata.to_json())
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    whole = (tmp_path / "c.zip").read_bytes()
    assert len(whole) == 653
    assert (
        hashlib.sha256(whole).hexdigest()
        == "6fd331737461e010c385078e850ec414e44e9648272d53d8e177c9ab0b9dae3d"
    )


def test_what_does_not_belong_to_the_checkpoint_is_left_out(saved, tmp_path):
    (saved / "model" / "leftover.pkl").write_bytes(b"")
    tc.archive(saved, tmp_path / "c.zip")
    assert not tc.verify(tmp_path / "c.zip").warnings


# ------------------------------------------------------------------------------ reading it


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


# ------------------------------------------------------------------------------ never a half file


def _damage(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_damaged_checkpoint_is_not_archived(saved, tmp_path):
    tc.archive(saved, tmp_path / "c.zip")
    before = (tmp_path / "c.zip").read_bytes()
    file = next(saved.glob("model/head/state.*"))
    _damage(file)
    with pytest.raises(CorruptDataError, match=f"model/head/{file.name}"):
        tc.archive(saved, tmp_path / "c.zip")
    assert (tmp_path / "c.zip").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["c", "c.zip"]


def test_a_killed_writer_leaves_the_old_archive(saved, archived, tmp_path):
    code = (
        "import os, signal, sys\n"
        "import tune_ckpt as tc\n"
        "from tune_ckpt.tree import archive\n"
        "from tune_ckpt.tree.storage import zip_format\n"
        "calls = iter([zip_format.directory, lambda _: os.kill(os.getpid(), signal.SIGKILL)])\n"
        "archive.directory = lambda members: next(calls)(members)\n"
        "tc.archive(*sys.argv[1:])\n"
    )
    before = archived.read_bytes()
    trained(step=8).save_to_path(saved)
    run = subprocess.run([sys.executable, "-c", code, saved, archived])
    assert run.returncode == -signal.SIGKILL
    assert archived.read_bytes() == before
    assert [name for name in os.listdir(tmp_path) if ".tune_ckpt-" in name]  # it had begun
    tc.archive(saved, archived)
    assert not [name for name in os.listdir(tmp_path) if ".tune_ckpt-" in name]


# ------------------------------------------------------------------------------ back to a folder


def test_extract_gives_the_folder_back(saved, archived, tmp_path):
    assert tc.extract(archived, tmp_path / "d") == str(tmp_path / "d")
    assert _content(tmp_path / "d") == _content(saved)


def test_extract_replaces_an_older_checkpoint_whole(archived, tmp_path):
    trained(step=1).save_to_path(tmp_path / "d", use_msgpack=True)
    tc.extract(archived, tmp_path / "d")
    assert Agent.from_checkpoint(tmp_path / "d").step == 7
    assert not tc.verify(tmp_path / "d").warnings


def test_a_damaged_archive_is_not_extracted(saved, archived, tmp_path):
    trained(step=1).save_to_path(tmp_path / "d")
    state = next(saved.glob("state.*")).read_bytes()
    altered = state[:-1] + bytes([state[-1] ^ 1])
    archived.write_bytes(archived.read_bytes().replace(state, altered))
    with pytest.raises(CorruptDataError):
        tc.extract(archived, tmp_path / "d")
    assert Agent.from_checkpoint(tmp_path / "d").step == 1


def test_a_file_that_changes_while_it_is_copied_is_noticed(saved, monkeypatch, tmp_path):
    files = [*archiving.tree_files(open_tree(open_store(saved)))]
    _damage(next(saved.glob("state.*")))
    with pytest.raises(CorruptDataError):
        [archiving._copied(file, None) for file in files]


# ------------------------------------------------------------------------------ what is refused


def test_an_archive_is_not_written_into(archived):
    before = archived.read_bytes()
    for write in (
        lambda: trained(step=8).save_to_path(archived),
        lambda: tc.save_state({"a": 1}, archived),
        lambda: tc.extract(archived.parent / "c", archived),
        lambda: open_store(archived).delete("metadata.json"),
        lambda: open_store(archived).write_bytes("x", b""),
    ):
        with pytest.raises(StorageError, match=r"c\.zip: an archive is never changed"):
            write()
    assert archived.read_bytes() == before


def test_the_name_must_tell_that_it_is_an_archive(saved, tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"a name that ends in \.zip"):
        tc.archive(saved, tmp_path / "model.ckpt")


def test_a_checkpoint_is_not_copied_over_itself(saved, archived):
    before = archived.read_bytes()
    for copy, path in ((tc.archive, archived), (tc.extract, archived), (tc.extract, saved)):
        with pytest.raises(InvalidArgumentError, match="another path than the checkpoint's own"):
            copy(path, path)
    assert archived.read_bytes() == before
    assert tc.verify(saved).ok


def test_a_path_that_zip_tools_cannot_take_is_refused(tmp_path):
    component = Component("builtins:dict", {}, components={"x" * 199: Component("b:d", {})})
    for _ in range(21):
        component = Component("builtins:dict", {}, components={"x" * 199: component})
    store = open_store(tmp_path / "c")
    memory = fs._MockFileSystem()
    write_packed(open_store("c", memory), pack_tree(component, "msgpack"))
    with pytest.raises(InvalidNameError, match="longer than 4096 bytes"):
        tc.archive("c", "c.zip", filesystem=memory)
    assert not store.list()


def test_a_missing_file_of_the_archive_is_named(archived):
    with pytest.raises(StorageError, match=r"c\.zip/model/nothing: there is no such file"):
        open_store(archived).child("model").read_bytes("nothing")


# ------------------------------------------------------------------------------ any tree


def _can_be_names(components):
    try:
        check_names(components, FileNames())
    except InvalidNameError:
        return False
    return True


_NAMES = st.text(min_size=1, max_size=8).filter(lambda name: _can_be_names([name]))
_STATES = st.dictionaries(st.text(max_size=3), st.integers() | st.binary(max_size=200), max_size=3)
_TREES = st.recursive(
    st.tuples(_STATES, st.just({})),
    lambda trees: st.tuples(
        _STATES,
        st.dictionaries(_NAMES, trees, max_size=3).filter(_can_be_names),
    ),
    max_leaves=6,
)


def _component(tree):
    state, components = tree
    children = {name: _component(child) for name, child in components.items()}
    return Component("builtins:dict", state, components=children)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=_TREES, format=st.sampled_from(["pickle", "msgpack"]))
def test_any_tree_comes_back(tmp_path, tree, format):
    for name in ("c", "d"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    write_packed(LocalStore(tmp_path / "c"), pack_tree(_component(tree), format))
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    assert tc.load_state(tmp_path / "c.zip") == tc.load_state(tmp_path / "c")
    tc.extract(tmp_path / "c.zip", tmp_path / "d")
    assert _content(tmp_path / "d") == _content(tmp_path / "c")
    with zipfile.ZipFile(tmp_path / "c.zip") as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == _content(tmp_path / "c")
