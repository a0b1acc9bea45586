"""Verification: every damaged file is found, named, and refused at load."""

import json

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Agent, trained
from tune_ckpt.errors import (
    CorruptCheckpointError,
    CorruptDataError,
    IncompleteCheckpointError,
    TuneCkptError,
)
from tune_ckpt.tree.layout import ComponentRecord, FileRecord, Metadata, _sealed


@pytest.fixture(params=["pickle", "msgpack"])
def saved(request, tmp_path):
    trained().save_to_path(tmp_path / "c", use_msgpack=request.param == "msgpack")
    return tmp_path / "c"


def test_a_whole_checkpoint_is_verified(saved):
    report = tc.verify(saved)
    assert report.ok
    assert not report.warnings
    assert not report.unverified
    report.raise_faults()
    assert "verified" in str(report)


def _delete(file):
    file.unlink()


def _cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def _flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [_delete, _cut, _flip])
def test_a_damaged_file_is_refused_and_named(saved, damage):
    for file in [path for path in sorted(saved.rglob("*")) if path.is_file()]:
        whole = file.read_bytes()
        damage(file)
        name = str(file.relative_to(saved))
        report = tc.verify(saved)
        assert [fault for fault in report.faults if name in str(fault)], name
        with pytest.raises(CorruptCheckpointError, match=name):
            report.raise_faults()
        with pytest.raises((CorruptDataError, IncompleteCheckpointError), match=file.name):
            Agent.from_checkpoint(saved)
        with pytest.raises((CorruptDataError, IncompleteCheckpointError), match=file.name):
            tc.load_state(saved)
        file.write_bytes(whole)


def test_every_fault_is_reported_not_only_the_first(saved):
    for file in saved.rglob("state.*"):
        _flip(file)
    faults = sorted(fault.path for fault in tc.verify(saved).faults)
    suffix = next(saved.glob("state.*")).suffix
    assert faults == [f"model/head/state{suffix}", f"model/state{suffix}", f"state{suffix}"]


def test_any_flipped_bit_is_found(saved):
    random = np.random.default_rng(0)
    files = [path for path in sorted(saved.rglob("*")) if path.is_file()]
    for _ in range(300):
        file = files[random.integers(len(files))]
        whole = file.read_bytes()
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        file.write_bytes(data)
        assert not tc.verify(saved).ok
        with pytest.raises(TuneCkptError):
            tc.load_state(saved)
        file.write_bytes(whole)


def test_a_component_of_another_checkpoint_is_found(saved, tmp_path):
    trained(step=8).save_to_path(tmp_path / "d", use_msgpack=bool([*saved.glob("*.msgpack")]))
    (saved / "model").rename(tmp_path / "aside")
    (tmp_path / "d" / "model").rename(saved / "model")
    assert "another checkpoint" in str(tc.verify(saved).faults[0])
    with pytest.raises(CorruptDataError, match="another checkpoint"):
        Agent.from_checkpoint(saved)


def test_a_leftover_file_is_a_warning(saved):
    (saved / "model" / "old.pkl").write_bytes(b"")
    report = tc.verify(saved)
    assert report.ok
    assert [warning.path for warning in report.warnings] == ["model/old.pkl"]


def test_nothing_there_is_a_fault(tmp_path):
    assert not tc.verify(tmp_path / "none").ok


@pytest.mark.parametrize("document", [{"state_file": "state"}, ["a", "list"], None])
def test_what_another_library_wrote_is_unverified(tmp_path, document):
    (tmp_path / "metadata.json").write_text(json.dumps(document))
    report = tc.verify(tmp_path)
    assert report.ok
    assert report.unverified


@pytest.mark.parametrize(
    ("files", "components"),
    [
        ({}, {"x": ComponentRecord("../outside", "metadata.json", "0" * 32)}),
        ({}, {"x": ComponentRecord("x", "../../metadata.json", "0" * 32)}),
        ({"state": FileRecord("/etc/passwd", 1, "0" * 32)}, {}),
        ({"state": FileRecord(None, 1, "0" * 32)}, {}),
        ({}, {"x": ComponentRecord(7, "metadata.json", "0" * 32)}),
    ],
)
def test_metadata_that_leads_outside_of_its_folder_is_refused(tmp_path, files, components):
    forged = Metadata("builtins:dict", "msgpack", files, components)
    (tmp_path / "metadata.json").write_bytes(forged.to_json())
    with pytest.raises(CorruptDataError, match="says what no writer says"):
        tc.load_state(tmp_path)


@pytest.mark.parametrize("field", ["layout", "format", "files", "components", "class"])
@pytest.mark.parametrize("value", [None, 9, "x", {}, {"a": 1}, ["a"]])
def test_forged_fields_of_the_metadata_are_refused(saved, field, value):
    path = saved / "metadata.json"
    document = json.loads(path.read_text())
    document["tune_ckpt"][field] = value
    document["metadata_digest"] = "0" * 32
    path.write_bytes(_sealed(json.dumps(document).encode()))
    with pytest.raises(TuneCkptError):
        Agent.from_checkpoint(saved)
    if (field, value) not in [("class", "x"), ("components", {})]:  # possible, though not ours
        assert not tc.verify(saved).ok


def test_equal_state_has_the_equal_digest(tmp_path):
    digests = set()
    for name in ("a", "b"):
        trained().save_to_path(tmp_path / name, use_msgpack=True)
        metadata = json.loads((tmp_path / name / "metadata.json").read_text())
        digests.add(metadata["tune_ckpt"]["digest"])
    trained(step=8).save_to_path(tmp_path / "c", use_msgpack=True)
    other = json.loads((tmp_path / "c" / "metadata.json").read_text())["tune_ckpt"]["digest"]
    assert len(digests) == 1
    assert other not in digests
