"""Archives that are damaged, or made to deceive: refused, with what and where."""

import tracemalloc
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tune_ckpt as tc
from tests.agents import trained
from tests.tree.damages import offsets
from tests.tree.forging_zip import each, told, zipped
from tune_ckpt.errors import CorruptDataError, ForeignArchiveError, StorageError, TuneCkptError
from tune_ckpt.formats.io import BytesSource
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tree.storage.zip_format import END, END64, LOCATOR, end_records
from tune_ckpt.tree.storage.zip_reading import read_members


def _members(data):
    return read_members(BytesSource(data, "x.zip"))


def _refused(data, reason, error=CorruptDataError):
    with pytest.raises(error, match=reason) as caught:
        _members(data)
    assert caught.value.file == "x.zip"


_GOOD = zipped([("a", b"one"), ("b/c", b"two")])


def test_what_the_attacks_alter_is_a_good_archive():
    assert [member.path for member in _members(_GOOD)] == ["a", "b/c"]


# ------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "path",
    [
        *("../x", "a/../../x", "..", ".", "./a", "a/./b", "/etc/passwd", "a//b", "a/", ""),
        *("..\\x", "C:\\x", "C:/x", "a/C:/x", "c:x", "a\0b", "a\nb", "x" * 4097),
    ],
)
def test_a_path_that_leads_elsewhere(path):
    _refused(zipped([(path, b"data")]), "is refused")


def test_a_path_that_is_no_utf8():
    _refused(_GOOD.replace(b"b/c", b"b/\xff"), "is not UTF-8")


def test_the_same_path_twice():
    _refused(zipped([("a", b"1"), ("a", b"2")]), "there twice")


def test_files_out_of_order():
    _refused(zipped([("b", b"1"), ("a", b"2")]), "out of order")


def test_a_file_that_is_a_folder_too():
    _refused(zipped([("a", b"1"), ("a/b", b"2")]), "'a' is not a folder")
    _refused(zipped([("a", b"1"), ("a/b", b"2"), ("a-b", b"3")]), "'a' is not a folder")


# ------------------------------------------------------------------------------------- places


def test_two_entries_over_the_same_data():
    def overlap(members):
        return [members[0], replace(members[1], offset=members[0].offset)]

    files = [("a", bytes(1000)), ("b", bytes(1000))]
    _refused(zipped(files, overlap), "directory")


def test_many_entries_over_the_same_data():
    """A bomb: a thousand names of one file of a megabyte."""
    one = zipped([("0000", bytes(2**20))])
    member = _members(one)[0]
    names = [replace(member, path=f"{number:04}") for number in range(1000)]
    _refused(one[: member.end] + told(names, member.end), "they overlap, or sizes lie")


@pytest.mark.parametrize("nbytes", [0, 1, 4, 1000, 2**32 - 2, 2**32 - 1, 2**40, 2**64 - 1])
def test_a_size_that_lies(nbytes):
    _refused(zipped([("a", b"one")], each(nbytes=nbytes)), "sizes lie")


def test_two_sizes():
    data = bytearray(_GOOD)
    data[data.index(b"PK\1\2") + 24] ^= 1
    _refused(bytes(data), "two sizes, 3 and 2 bytes")


# ------------------------------------------------------------------------------ local headers


@pytest.mark.parametrize(
    "fields",
    [{"path": "../a"}, {"path": "b"}, {"nbytes": 4}, {"crc": 0}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_local_header_that_tells_another_story(tmp_path, fields):
    data = zipped([("a", b"one")], alter_local=lambda member: replace(member, **fields))
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(CorruptDataError, match="local header of 'a'"):
        open_store(tmp_path / "x.zip").read_bytes("a")


def test_every_byte_of_a_local_header_counts(tmp_path):
    data = zipped([("a", b"one")])
    for offset in range(_members(data)[0].data_offset):
        altered = bytearray(data)
        altered[offset] ^= 1
        (tmp_path / "x.zip").write_bytes(altered)
        with pytest.raises(CorruptDataError, match="local header of 'a'"):
            open_store(tmp_path / "x.zip").read_bytes("a")


@pytest.mark.parametrize(
    "use", [lambda source: source.mapped(), lambda source: source.read_into(2, memoryview(b""))]
)
def test_a_local_header_is_checked_whatever_is_read_first(tmp_path, use):
    data = zipped([("a", b"one")], alter_local=lambda member: replace(member, crc=0))
    (tmp_path / "x.zip").write_bytes(data)
    with (
        open_store(tmp_path / "x.zip").open("a") as source,
        pytest.raises(CorruptDataError, match="local header of 'a'"),
    ):
        use(source)


def test_nothing_beyond_a_file_is_read(tmp_path):
    (tmp_path / "x.zip").write_bytes(_GOOD)
    with (
        open_store(tmp_path / "x.zip").open("a") as source,
        pytest.raises(StorageError, match=r"x\.zip/a: it ends at byte 3"),
    ):
        source.read_into(2, memoryview(bytearray(2)))


# ---------------------------------------------------------------------------- other tools' files


def _by_zipfile(path, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("metadata.json", "{}")
    return path.read_bytes()


def test_compressed_entries_are_refused_with_advice(tmp_path):
    data = _by_zipfile(tmp_path / "x.zip", zipfile.ZIP_DEFLATED)
    _refused(data, "'metadata.json' is compressed", ForeignArchiveError)
    with pytest.raises(ForeignArchiveError, match=r"unpack it with another tool and use the fold"):
        tc.load_state(tmp_path / "x.zip")


def test_entries_stored_by_another_tool_are_refused_with_advice(tmp_path):
    _refused(_by_zipfile(tmp_path / "x.zip"), "stored in another way", ForeignArchiveError)


def test_encrypted_entries_are_refused():
    data = bytearray(_GOOD)
    data[data.index(b"PK\1\2") + 8] |= 1
    _refused(bytes(data), "is encrypted", ForeignArchiveError)


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip file at all" * 10, bytes(70_000)])
def test_no_zip_file(tmp_path, data):
    _refused(data, "no zip file")
    (tmp_path / "x.zip").write_bytes(data)
    assert [fault.reason for fault in tc.verify(tmp_path / "x.zip").faults] == [
        "it does not end as an archive does: cut short, appended to, or no zip file"
    ]


def test_an_empty_zip_file_is_no_checkpoint(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped([]))
    with pytest.raises(TuneCkptError, match=r"x\.zip is not a checkpoint: nothing is there"):
        tc.load_state(tmp_path / "x.zip")


# ------------------------------------------------------------------------------------- the end


def test_something_before_or_behind_an_archive():
    _refused(b"MZ" + _GOOD, "prepended")
    _refused(_GOOD + b"\0", "appended to")
    _refused(_GOOD + _GOOD, "elsewhere")


def test_a_comment():
    data = _GOOD[:-2] + b"\x04\0note"
    _refused(data, "appended to")
    _refused(_GOOD[:-2] + b"\x04\0", "comment")


@pytest.mark.parametrize("at", [4, 6])
def test_several_disks(at):
    data = bytearray(_GOOD)
    data[len(data) - END.size + at] = 1
    _refused(bytes(data), "several disks")


def _with_end(count=1, nbytes=None, start=None):
    """Return a good archive but for what its end record says."""
    data = zipped([("a", b"one")])
    truth = END.unpack(data[-END.size :])
    nbytes, start = truth[5] if nbytes is None else nbytes, truth[6] if start is None else start
    return data[: -END.size] + end_records(count, nbytes, start)


@pytest.mark.parametrize("count", [0, 2, 65_534, 65_535, 2**40, 2**64 - 1])
def test_a_count_that_lies(count):
    _refused(_with_end(count=count), f"1 entries instead of {count}")


@pytest.mark.parametrize("nbytes", [0, 1, 2**31, 2**32 - 1, 2**62])
def test_a_directory_larger_than_the_file_or_smaller(nbytes):
    _refused(_with_end(nbytes=nbytes), "elsewhere")


@pytest.mark.parametrize("start", [0, 2**31, 2**32 - 1, 2**62])
def test_a_directory_elsewhere(start):
    _refused(_with_end(start=start), "elsewhere")


def test_a_directory_beyond_64_bits():
    data = bytearray(_with_end(start=2**62))
    at = len(data) - END.size - LOCATOR.size - 16
    data[at : at + 16] = b"\xff" * 16  # its size and offset in the zip64 record
    _refused(bytes(data), "elsewhere")


def test_a_zip64_record_where_none_is_needed():
    end = _GOOD[-END.size :]
    end64 = END64.pack(b"PK\6\6", END64.size - 12, 45, 45, 0, 0, 2, 2, 100, 100)
    _refused(_GOOD[: -END.size] + end64 + LOCATOR.pack(b"PK\6\7", 0, 0, 1) + end, "elsewhere")


def test_a_lie_costs_no_memory():
    lies = [
        _with_end(count=2**40),
        _with_end(nbytes=2**62),
        zipped([("a", b"")], each(nbytes=2**40)),
    ]
    tracemalloc.start()
    for data in lies:
        _refused(data, "instead of|elsewhere|sizes lie")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_very_many_entries_cost_a_few_times_the_size_of_the_file():
    data = zipped([(f"{number:05}", b"") for number in range(20_000)])
    tracemalloc.start()
    assert len(_members(data)) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(data)


# -------------------------------------------------------------------------- damage, anywhere


@pytest.fixture(scope="module", params=["pickle", "msgpack"])
def small(request, tmp_path_factory):
    """A small archive, and what it holds."""
    folder = tmp_path_factory.mktemp("small")
    tc.save({"a": trained(size=3).model.head, "step": 7}, folder / "c", format=request.param)
    tc.archive(folder / "c", folder / "c.zip")
    return (folder / "c.zip").read_bytes(), tc.load_state(folder / "c"), folder / "x.zip"


def test_cut_short_anywhere(small):
    data, _, path = small
    for nbytes in offsets(len(data)):
        path.write_bytes(data[:nbytes])
        with pytest.raises(CorruptDataError):
            tc.load_state(path)


def test_any_altered_byte_is_found(small):
    data, _, path = small
    for offset in offsets(len(data)):
        altered = bytearray(data)
        altered[offset] ^= 1 << offset % 8
        path.write_bytes(altered)
        with pytest.raises(TuneCkptError):
            tc.load_state(path)
        if offset % 8 == 0:  # it takes longer
            assert not tc.verify(path).ok, offset


def _outcome(path):
    try:
        return str(tc.load_state(path))
    except TuneCkptError:
        return "refused"


def _edits(data):
    at = st.integers(0, len(data))
    return st.lists(
        st.tuples(at, st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=4
    )


@given(edits=st.data())
def test_any_damage_gives_the_right_value_or_one_error(small, edits):
    data, value, path = small
    altered = bytearray(data)
    for at, removed, inserted in edits.draw(_edits(data)):
        altered[at : at + removed] = inserted
    path.write_bytes(altered)
    assert _outcome(path) in (str(value), "refused")


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "path": st.sampled_from(["metadata.json", "../x", "a/metadata.json", "state.pkl", "é"]),
        "nbytes": st.integers(0, 2**64 - 1) | st.integers(0, 3000),
        "crc": st.integers(0, 2**32 - 1),
        "offset": st.integers(0, 2**64 - 1) | st.integers(0, 3000),
    },
)


@given(numbers=st.lists(st.tuples(st.integers(0, 5), _FIELDS), min_size=1, max_size=3))
def test_any_lie_of_the_directory_gives_the_right_value_or_one_error(small, numbers):
    """Well-formed directories that say other things: byte mutations hardly get there."""
    data, value, path = small
    members = _members(data)
    lies = list(members)
    for number, fields in numbers:
        lies[number % len(lies)] = replace(lies[number % len(lies)], **fields)
    path.write_bytes(data[: members[-1].end] + told(lies, members[-1].end))
    assert _outcome(path) == (str(value) if lies == members else "refused")
