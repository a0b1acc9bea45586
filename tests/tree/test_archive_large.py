"""Archives beyond 4 GiB and 65,535 files, and the memory that large ones take."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

import tune_ckpt as tc
from tests.tree.forging_zip import zipped
from tune_ckpt.formats.io import BytesSource
from tune_ckpt.tree.storage.zip_format import ALIGNMENT, directory, local_header, place
from tune_ckpt.tree.storage.zip_reading import read_members


class _Sparse:
    """A large file of which only some ranges are not zeros."""

    name, chunk_nbytes = "sparse.zip", 2**18

    def __init__(self, nbytes, ranges):
        self.nbytes = nbytes
        self._ranges = ranges

    def read_into(self, offset, *buffers):
        for buffer in buffers:
            for start, data in self._ranges.items():
                first, end = max(start, offset), min(start + len(data), offset + buffer.nbytes)
                if first < end:
                    buffer[first - offset : end - offset] = data[first - start : end - start]
            offset += buffer.nbytes


_SIZES = [0, 1, 2**32 - 2, 2**32 - 1, 2**32, 5 * 2**32]


@pytest.mark.parametrize("first", _SIZES)
@pytest.mark.parametrize("second", _SIZES)
def test_sizes_and_offsets_beyond_4_gib(tmp_path, first, second):
    members = place([("a", first, 1), ("b", second, 2), ("c", 3, 3)])
    assert all(member.data_offset % ALIGNMENT == 0 for member in members)
    ranges = {member.offset: local_header(member) for member in members}
    ranges[members[-1].end] = directory(members)
    size = members[-1].end + len(directory(members))
    assert read_members(_Sparse(size, ranges)) == members
    with open(tmp_path / "x.zip", "wb") as file:  # the disk keeps the zeros for nothing
        for start, data in ranges.items():
            file.seek(start)
            file.write(data)
    with zipfile.ZipFile(tmp_path / "x.zip") as read:
        assert [info.file_size for info in read.infolist()] == [first, second, 3]
        for info, member in zip(read.infolist(), members, strict=True):
            assert info.header_offset == member.offset
            with read.open(info) as data:
                assert data._fileobj._pos == member.data_offset


def test_more_files_than_16_bits_can_count(tmp_path):
    data = zipped([(f"{number:06}", b"x") for number in range(66_000)])
    assert len(read_members(BytesSource(data))) == 66_000
    (tmp_path / "x.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.zip") as file:
        assert len(file.namelist()) == 66_000


@pytest.mark.slow
def test_mapping_takes_no_memory(tmp_path):
    tc.save_state({"w": np.ones(2**25)}, tmp_path / "c")  # 256 MiB
    tc.archive(tmp_path / "c", tmp_path / "c.zip")
    code = (
        "import sys, tune_ckpt as tc\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "tc.load_state(sys.argv[2], mmap=True)\n"
        "before = resident()\n"
        "w = tc.load_state(sys.argv[1], mmap=True)['w']\n"
        "assert w[-1] == 1 and w.nbytes == 2**28\n"
        "assert resident() - before < 2**22, resident() - before\n"
    )
    tc.save_state({"w": np.ones(1000)}, tmp_path / "small")
    tc.archive(tmp_path / "small", tmp_path / "small.zip")
    paths = [tmp_path / "c.zip", tmp_path / "small.zip"]
    subprocess.run([sys.executable, "-c", code, *paths], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_archiving_takes_little_memory(tmp_path, format):
    tc.save_state({"w": np.ones(2**24)}, tmp_path / "c", format=format)  # 128 MiB
    code = (
        "import resource, sys, tune_ckpt as tc\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "tc.save_state({'a': 1}, sys.argv[1] + '/d')\n"
        "tc.archive(sys.argv[1] + '/d', sys.argv[1] + '/d.zip')\n"
        "before = peak()\n"
        "tc.archive(sys.argv[1] + '/c', sys.argv[1] + '/c.zip')\n"
        "assert peak() - before < 2**24, peak() - before\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
