"""One file: what `archive` makes, and what it refuses."""

import hashlib
import shutil
import subprocess
import sys
import uuid
import zipfile

import pytest
import xxhash
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Agent, trained
from tests.tree.forging_zip import zipped
from tests.tree.stores import content_of
from tune_ckpt.errors import InvalidArgumentError, InvalidNameError, StorageError
from tune_ckpt.tree import writing
from tune_ckpt.tree.metadata import FileRecord, Metadata
from tune_ckpt.tree.packing import Component, pack_tree
from tune_ckpt.tree.storage.store import LocalStore, open_store
from tune_ckpt.tree.storage.zip_format import ALIGNMENT
from tune_ckpt.tree.writing import write_packed

# ------------------------------------------------------------------------------ what it is


def test_a_zip_tool_finds_the_files_of_the_folder(saved, archived):
    with zipfile.ZipFile(archived) as file:
        assert {name: file.read(name) for name in file.namelist()} == content_of(saved)


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
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=0))
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
