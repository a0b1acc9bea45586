"""Archives on other filesystems: streamed there, read by ranges, never half a file."""

import fsspec
import pytest
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Agent, same_agents, trained
from tune_ckpt.errors import CorruptDataError, StorageError
from tune_ckpt.tree import archive as archiving


def _subtree(tmp_path):
    (tmp_path / "bucket").mkdir()
    return fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())


def _memory(tmp_path):
    memory = fsspec.filesystem("memory", skip_instance_cache=True)
    memory.store, memory.pseudo_dirs = {}, [""]
    return fs.PyFileSystem(fs.FSSpecHandler(memory))


@pytest.fixture(params=[_subtree, _memory, lambda _: fs._MockFileSystem()])
def remote(request, tmp_path):
    return request.param(tmp_path)


@pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])
@pytest.mark.parametrize("place", ["model.zip", "deep/down/model.zip"])
def test_an_archive_on_another_filesystem(remote, place, use_msgpack):
    trained().save_to_path("c", filesystem=remote, use_msgpack=use_msgpack)
    tc.archive("c", place, filesystem=remote)
    assert tc.verify(place, filesystem=remote).ok
    assert same_agents(Agent.from_checkpoint(place, remote), trained())
    assert tc.load_state(place, "model", filesystem=remote, mmap=True)["w"][3] == 10
    tc.extract(place, "d", filesystem=remote)
    assert same_agents(Agent.from_checkpoint("d", remote), trained())


def test_an_archive_on_s3(s3, bucket, tmp_path):
    agent, filesystem = trained(size=2**20), s3.filesystem()
    agent.save_to_path(tmp_path / "c", use_msgpack=True)
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    with filesystem.open_output_stream(f"{bucket}/c.zip") as stream:
        stream.write((tmp_path / "c.zip").read_bytes())
    tc.archive(f"{bucket}/c.zip", f"{bucket}/d.zip", filesystem=filesystem)
    assert tc.verify(f"{bucket}/d.zip", filesystem=filesystem).ok
    assert same_agents(Agent.from_checkpoint(f"{bucket}/d.zip", filesystem), agent)
    tc.extract(f"{bucket}/d.zip", f"{bucket}/e", filesystem=filesystem)
    assert tc.load_state(f"{bucket}/e", "model/head", filesystem=filesystem)["w"][0] == 7


def test_a_broken_upload_leaves_no_object(s3, bucket, monkeypatch):
    filesystem = s3.filesystem()
    trained().save_to_path(f"{bucket}/c", filesystem=filesystem)

    def broken(sink, members, files):
        sink.write_at(0, bytes(12 * 2**20))  # more than one part
        raise StorageError("c", "read", "the network is gone")

    monkeypatch.setattr(archiving, "_write", broken)
    with pytest.raises(StorageError, match="network is gone"):
        tc.archive(f"{bucket}/c", f"{bucket}/c.zip", filesystem=filesystem)
    assert filesystem.get_file_info(f"{bucket}/c.zip").type == fs.FileType.NotFound


def test_a_streamed_archive_equals_a_local_one(tmp_path):
    remote = _subtree(tmp_path)
    trained().save_to_path("c", filesystem=remote, use_msgpack=True)
    tc.archive("c", "c.zip", filesystem=remote)
    tc.archive(tmp_path / "bucket" / "c", tmp_path / "local.zip")
    assert (tmp_path / "local.zip").read_bytes() == (tmp_path / "bucket" / "c.zip").read_bytes()


def test_a_damaged_checkpoint_is_not_streamed(tmp_path):
    remote = _subtree(tmp_path)
    trained(step=1).save_to_path("old", filesystem=remote)
    tc.archive("old", "c.zip", filesystem=remote)
    trained(step=2).save_to_path("c", filesystem=remote)
    (tmp_path / "bucket" / "c" / "model" / "state.pkl").write_bytes(b"")
    with pytest.raises(CorruptDataError, match=r"model/state\.pkl"):
        tc.archive("c", "c.zip", filesystem=remote)
    assert tc.load_state("c.zip", filesystem=remote)["step"] == 1


def test_a_broken_stream_leaves_no_file(remote, monkeypatch):
    trained().save_to_path("c", filesystem=remote)

    def broken(sink, members, files):
        sink.write_at(0, b"PK")
        raise StorageError("c", "read", "the network is gone")

    monkeypatch.setattr(archiving, "_write", broken)
    with pytest.raises(StorageError, match="network is gone"):
        tc.archive("c", "c.zip", filesystem=remote)
    assert remote.get_file_info("c.zip").type == fs.FileType.NotFound
