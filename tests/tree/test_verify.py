"""Verification: every damaged file is found, named, and refused at load."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Agent, Weights, trained
from tests.tree.damages import cut, delete, flip, offsets
from tune_ckpt.errors import (
    CorruptCheckpointError,
    CorruptDataError,
    IncompleteCheckpointError,
    TuneCkptError,
)
from tune_ckpt.tree import files
from tune_ckpt.tree.inspection import verify
from tune_ckpt.tree.metadata import ComponentRecord, FileRecord, Metadata, sealed
from tune_ckpt.tree.storage.folder import TEMPORARY

REPO = Path(__file__).parents[2]


def test_a_whole_checkpoint_is_verified(saved):
    report = tc.verify(saved)
    assert report.ok
    assert not report.warnings
    assert not report.unverified
    report.raise_faults()
    assert "verified" in str(report)


@pytest.mark.parametrize("damage", [delete, cut, flip])
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
        flip(file)
    faults = sorted(fault.path for fault in tc.verify(saved).faults)
    suffix = next(saved.glob("state.*")).suffix
    assert faults == [f"model/head/state{suffix}", f"model/state{suffix}", f"state{suffix}"]


def test_faults_of_every_kind_are_reported_at_once_and_in_order(tmp_path):
    path = tmp_path / "c"
    tc.save({name: Weights(300) for name in "abcdefgh"}, path)
    tc.save({"d": Weights(2)}, tmp_path / "other")
    (path / "a" / "state.msgpack").unlink()
    cut(path / "b" / "state.msgpack")
    flip(path / "c" / "state.msgpack")
    shutil.rmtree(path / "d")
    shutil.copytree(tmp_path / "other" / "d", path / "d")
    (path / "e" / "state.msgpack").unlink()
    (path / "e" / "state.msgpack").symlink_to("state.msgpack")  # leads nowhere
    flip(path / "f" / "metadata.json")
    shutil.rmtree(path / "g")
    (path / "h" / "left.over").write_bytes(b"")
    expected = {
        "a/state.msgpack": "it is missing",
        "b/state.msgpack": r"it has \d+ bytes instead of \d+",
        "c/state.msgpack": r"blob 0 does not match its digest",
        "d/metadata.json": "it belongs to another checkpoint",
        "e/state.msgpack": "it is missing",
        "f/metadata.json": ".*",
        "g/metadata.json": "it is missing",
    }
    reports = [tc.verify(path) for _ in range(3)]
    assert [fault.path for fault in reports[0].faults] == [*expected]
    for fault in reports[0].faults:
        assert re.fullmatch(expected[fault.path], fault.reason)
    assert [warning.path for warning in reports[0].warnings] == ["h/left.over"]
    assert len({str(report) for report in reports}) == 1


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_any_changed_byte_is_found(tmp_path, format):
    tc.save_state({"w": np.arange(130.0), "n": 1}, tmp_path / "c", format=format)  # in a blob
    tc.save({"a": Weights(2), "n": 1}, tmp_path / "d", format=format)
    for path in (tmp_path / "c", tmp_path / "d"):
        for file in [file for file in sorted(path.rglob("*")) if file.is_file()]:
            for offset in offsets(file.stat().st_size):
                _change_byte(file, offset)
                assert not tc.verify(path).ok, f"{file}, byte {offset}"
                _change_byte(file, offset)
        assert tc.verify(path).ok


def _change_byte(file, offset):
    with file.open("r+b") as stream:
        stream.seek(offset)
        (byte,) = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([byte ^ (1 + offset % 255)]) if offset % 2 else bytes([byte ^ 0xFF]))


def test_any_flipped_bit_is_refused_at_load(saved):
    random = np.random.default_rng(0)
    files = [path for path in sorted(saved.rglob("*")) if path.is_file()]
    for _ in range(300):
        file = files[random.integers(len(files))]
        whole = file.read_bytes()
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        file.write_bytes(data)
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


def test_in_the_middle_of_a_swap_faults_are_told_where_they_are(saved):
    old = saved.parent / f".c{TEMPORARY}old"
    saved.rename(old)
    assert tc.verify(saved).ok
    flip(next((old / "model").glob("state.*")))
    (fault,) = tc.verify(saved).faults
    assert fault.path.startswith(f"{old}/model/state")


def test_nothing_there_is_a_fault(tmp_path):
    assert not tc.verify(tmp_path / "none").ok


@pytest.mark.parametrize("document", [{"any": "field"}, ["a", "list"], None])
def test_what_another_library_wrote_is_unverified(tmp_path, document):
    (tmp_path / "metadata.json").write_text(json.dumps(document))
    (tmp_path / "model.pkl").write_bytes(b"whatever it may be")
    report = tc.verify(tmp_path)
    assert report.ok
    assert report.unverified
    assert str(report).endswith("neither tune_ckpt nor RLlib wrote it, so nothing was checked")


@pytest.mark.parametrize(
    ("files", "components"),
    [
        ({}, {"x": ComponentRecord("../outside", "metadata.json", "0" * 32)}),
        ({}, {"x": ComponentRecord("x", "../../metadata.json", "0" * 32)}),
        ({"state": FileRecord("/etc/passwd", 1, "0" * 32)}, {}),
        ({"state": FileRecord(None, 1, "0" * 32)}, {}),
        ({"state": FileRecord("state.msgpack", "1", "0" * 32)}, {}),
        ({"state": FileRecord("state.msgpack", -1, "0" * 32)}, {}),
        ({"state": FileRecord("state.msgpack", 1, None)}, {}),
        ({}, {"x": ComponentRecord(7, "metadata.json", "0" * 32)}),
        ({}, {"..": ComponentRecord("x", "metadata.json", "0" * 32)}),  # where a copy would go
    ],
)
def test_metadata_that_says_what_no_writer_says_is_refused(tmp_path, files, components):
    state = FileRecord("state.msgpack", 1, "0" * 32)
    forged = Metadata("builtins:dict", "msgpack", {"state": state, **files}, components)
    (tmp_path / "metadata.json").write_bytes(forged.to_json())
    with pytest.raises(CorruptDataError, match="says what no writer says"):
        tc.load_state(tmp_path)
    assert "says what no writer says" in str(tc.verify(tmp_path))


def test_a_digest_that_is_no_unicode_is_a_fault(saved):
    path = saved / "metadata.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "metadata_digest": "\ud800"}))
    assert "own digest" in str(tc.verify(saved))


@pytest.mark.parametrize("field", ["layout", "format", "files", "components", "class"])
@pytest.mark.parametrize("value", [None, 9, "x", {}, {"a": 1}, ["a"]])
def test_forged_fields_of_the_metadata_are_refused(saved, field, value):
    path = saved / "metadata.json"
    document = json.loads(path.read_text())
    document["tune_ckpt"][field] = value
    document["metadata_digest"] = "0" * 32
    path.write_bytes(sealed(json.dumps(document).encode()))
    with pytest.raises(TuneCkptError):
        Agent.from_checkpoint(saved)
    if (field, value) not in [("class", "x"), ("components", {})]:  # possible, though not ours
        assert not tc.verify(saved).ok


def test_a_digest_that_is_spelt_otherwise_does_not_vouch_for_what_is_above_it(saved):
    path = saved / "model" / "metadata.json"
    text = path.read_text()
    seal = json.loads(text)["metadata_digest"]
    escaped = f"\\u{ord(seal[0]):04x}{seal[1:]}"  # the same text to JSON
    path.write_text(text.replace(seal, escaped).replace("tests.agents:Model", "tests.agents:Agent"))
    assert "model/metadata.json" in str(tc.verify(saved))
    with pytest.raises(CorruptDataError, match="own digest"):
        tc.load_state(saved, "model")


# ----------------------------------------------------------------------- many and large files


def test_it_takes_little_memory_whatever_the_size_of_the_files(tmp_path):
    for format in ("pickle", "msgpack"):
        tc.save_state({"w": np.zeros(2**22)}, tmp_path / format, format=format)  # 32 MiB
        tracemalloc.start()
        assert tc.verify(tmp_path / format).nbytes > 2**25
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**22


def test_files_are_read_by_several_threads(tmp_path, monkeypatch):
    tc.save({name: Weights(2) for name in "abcd"}, tmp_path / "c")
    together = threading.Barrier(2, timeout=60)
    check = files.check_file

    def slow(store, file, *args):
        if file.name.startswith("class"):
            together.wait()  # comes to an end only if two files are under way at once
        check(store, file, *args)

    monkeypatch.setattr(verify, "_THREADS", 2)
    monkeypatch.setattr(verify, "check_file", slow)
    assert tc.verify(tmp_path / "c").ok


@pytest.fixture
def bars(monkeypatch):
    """What the progress bars are told: their totals, and each step."""
    from rich.progress import Progress

    told = []

    class Recording(Progress):
        def add_task(self, what, *, total):
            told.append(total)
            return super().add_task(what, total=total)

        def advance(self, task, advance):
            told.append(advance)
            super().advance(task, advance)

    monkeypatch.setattr("rich.progress.Progress", Recording)
    return told


@pytest.mark.parametrize("damage", [None, delete, cut, flip])
def test_the_progress_bar_counts_all_bytes_faults_or_not(saved, bars, damage):
    file = next((saved / "model").glob("state.*"))
    if damage:
        damage(file)
    tc.verify(saved, progress=True)
    total, *steps = bars
    metadata = json.loads((saved / "model" / "metadata.json").read_text())
    assert total > metadata["tune_ckpt"]["files"]["state"]["nbytes"]
    assert sum(steps) == total


def test_a_notebook_that_cannot_show_a_bar_shows_nothing(saved, bars, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("tune_ckpt.tree.progress.find_spec", lambda name: None)
    assert tc.verify(saved, progress=True).ok
    assert not bars


def test_a_bar_is_shown_on_stderr_only_when_asked(saved):
    code = "import sys, tune_ckpt as tc; r = tc.verify(sys.argv[1], progress={});"
    code += "print('rich' in sys.modules)"
    for asked in (False, True):
        environment = {**os.environ, "FORCE_COLOR": "1", "PYTHONPATH": str(REPO)}
        command = [sys.executable, "-c", code.format(asked), str(saved)]
        run = subprocess.run(
            command, env=environment, cwd=REPO, capture_output=True, text=True, check=True
        )
        assert run.stdout == f"{asked}\n"
        assert ("Verifying" in run.stderr) is asked
