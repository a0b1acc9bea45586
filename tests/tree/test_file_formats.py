"""A format of files is one row of a table: with another one all works that is done with a tree."""

import json

import pytest
import xxhash

import tune_ckpt as tc
from tune_ckpt.errors import CorruptDataError
from tune_ckpt.formats.file_format import FileFormat
from tune_ckpt.formats.io import read_range
from tune_ckpt.formats.packed import Buffers
from tune_ckpt.tree.layout import FORMATS

STATE = {"step": 3, "losses": [0.5, 0.25], "name": "a"}


def _pack(value):
    return Buffers([json.dumps(value).encode()])


def _bytes(source):
    return bytes(read_range(source, 0, source.nbytes))


def _digest(source):
    return xxhash.xxh3_128_hexdigest(_bytes(source))


JSON = FileFormat(
    suffix=".jsonstate",
    dialect=None,
    holds_classes=False,
    pack=_pack,
    pack_late=_pack,
    read=lambda source, digest, options: json.loads(_bytes(source)),
    digest=_digest,
    digest_in_order=_digest,
    loads_inert=lambda data, file: json.loads(data),
)


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """A checkpoint in a format that the package does not have."""
    monkeypatch.setitem(FORMATS, "json", JSON)
    return tc.save_state(STATE, tmp_path / "c", format="json")


def test_it_is_loaded_described_and_compared(saved, tmp_path):
    assert tc.load_state(saved) == STATE
    assert "json" in str(tc.describe(saved))
    other = tc.save_state({**STATE, "step": 4}, tmp_path / "d", format="json")
    assert "step" in str(tc.diff(saved, other, values=True))


def test_its_bytes_are_verified(saved, tmp_path):
    assert tc.verify(saved).ok
    file = tmp_path / "c" / "state.jsonstate"
    file.write_bytes(file.read_bytes().replace(b"3", b"4"))
    assert not tc.verify(saved).ok
    with pytest.raises(CorruptDataError):
        tc.archive(saved, tmp_path / "c.zip")


def test_it_is_copied_and_converted(saved, tmp_path):
    assert tc.load_state(tc.archive(saved, tmp_path / "c.zip")) == STATE
    assert tc.load_state(tc.convert_checkpoint(saved, tmp_path / "m")) == STATE


def test_it_is_saved_in_the_background(saved, tmp_path):
    tc.save_async({"a": STATE}, tmp_path / "e", format="json").result()
    assert tc.load_state(tmp_path / "e") == {"a": STATE}
