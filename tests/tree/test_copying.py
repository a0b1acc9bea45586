"""Copying a tree file by file: whole, in order, verified on the way."""

import pytest

from tests.agents import trained
from tests.tree.damages import flip
from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.io import BytesSink, BytesSource
from tune_ckpt.tree.copying import _Tee, to_be_copied, tree_files
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import LocalStore
from tune_ckpt.tree.writing import write_packed


@pytest.fixture(params=["pickle", "msgpack"])
def opened(request, tmp_path):
    trained(size=2**17).save_to_path(tmp_path / "c", use_msgpack=request.param == "msgpack")
    return open_tree(LocalStore(tmp_path / "c"))


def test_every_file_is_copied_as_it_is(opened):
    for file in tree_files(opened):
        sink = BytesSink(file.nbytes)
        file.copy(sink)
        assert sink.buffer == opened.store.root.joinpath(file.path).read_bytes()


def test_the_root_metadata_comes_last(opened):
    files = [file.path for file in tree_files(opened)]
    assert files[-1] == "metadata.json"
    assert files.index("model/head/metadata.json") < files.index("model/metadata.json")


def test_a_changed_file_is_refused(opened, tmp_path):
    file = next(tmp_path.glob("c/model/state.*"))
    flip(file)
    with pytest.raises(CorruptDataError, match="model/state"):
        write_packed(LocalStore(tmp_path / "d"), to_be_copied(opened))
    file.write_bytes(b"short")
    with pytest.raises(CorruptDataError, match="it has 5 bytes instead of"):
        write_packed(LocalStore(tmp_path / "d"), to_be_copied(opened))
    file.unlink()
    with pytest.raises(CorruptDataError, match="it is missing"):
        write_packed(LocalStore(tmp_path / "d"), to_be_copied(opened))


def test_metadata_that_changes_meanwhile_is_refused(opened, tmp_path):
    files = tree_files(opened)
    next(files)
    trained(step=8).save_to_path(tmp_path / "c")
    with pytest.raises(CorruptDataError, match=r"changed while|another checkpoint|missing"):
        list(files)


def test_a_reader_that_skips_and_repeats_gets_the_whole_across():
    data = bytes(range(256)) * 4
    sink = BytesSink(len(data))
    tee = _Tee(BytesSource(data), sink)
    tee.chunk_nbytes = 100
    for offset, sizes in [(0, [10, 20]), (5, [50]), (300, [7]), (0, [3])]:
        buffers = [memoryview(bytearray(size)) for size in sizes]
        tee.read_into(offset, *buffers)
        assert b"".join(buffers) == data[offset : offset + sum(sizes)]
    assert sink.buffer[:307] == data[:307]
    assert not any(sink.buffer[307:])
    tee.pass_on(len(data))
    assert sink.buffer == data
