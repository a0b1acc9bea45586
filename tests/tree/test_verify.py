"""Verification: every damaged file is found, named, and refused at load."""

import json
import os
import pickle
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
from tests.tree.rllib_trees import write_tree
from tune_ckpt.errors import (
    CorruptCheckpointError,
    CorruptDataError,
    IncompleteCheckpointError,
    TuneCkptError,
)
from tune_ckpt.tree import reading
from tune_ckpt.tree.inspection import verify
from tune_ckpt.tree.metadata import ComponentRecord, FileRecord, Metadata, sealed
from tune_ckpt.tree.storage.store import TEMPORARY

REPO = Path(__file__).parents[2]


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


def test_faults_of_every_kind_are_reported_at_once_and_in_order(tmp_path):
    path = tmp_path / "c"
    tc.save({name: Weights(300) for name in "abcdefgh"}, path)
    tc.save({"d": Weights(2)}, tmp_path / "other")
    (path / "a" / "state.msgpack").unlink()
    _cut(path / "b" / "state.msgpack")
    _flip(path / "c" / "state.msgpack")
    shutil.rmtree(path / "d")
    shutil.copytree(tmp_path / "other" / "d", path / "d")
    (path / "e" / "state.msgpack").unlink()
    (path / "e" / "state.msgpack").symlink_to("state.msgpack")  # nobody can open that
    _flip(path / "f" / "metadata.json")
    shutil.rmtree(path / "g")
    (path / "h" / "left.over").write_bytes(b"")
    expected = {
        "a/state.msgpack": "it is missing",
        "b/state.msgpack": r"it has \d+ bytes instead of \d+",
        "c/state.msgpack": r"blob 0 does not match its digest",
        "d/metadata.json": "it belongs to another checkpoint",
        "e/state.msgpack": r"it is unreadable \(cannot look at: Too many levels of .*\)",
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
    tc.save_state({"w": np.arange(200.0), "n": 1}, tmp_path / "c", format=format)
    tc.save({"a": Weights(2), "n": 1}, tmp_path / "d", format=format)
    for path in (tmp_path / "c", tmp_path / "d"):
        for file in [file for file in sorted(path.rglob("*")) if file.is_file()]:
            for offset in range(file.stat().st_size):
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


def test_in_the_middle_of_a_swap_faults_are_told_where_they_are(saved):
    old = saved.parent / f".c{TEMPORARY}old"
    saved.rename(old)
    assert tc.verify(saved).ok
    _flip(next((old / "model").glob("state.*")))
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
    assert str(report).endswith("unverified, it has no digests")


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
    ],
)
def test_metadata_that_says_what_no_writer_says_is_refused(tmp_path, files, components):
    forged = Metadata("builtins:dict", "msgpack", files, components)
    (tmp_path / "metadata.json").write_bytes(forged.to_json())
    with pytest.raises(CorruptDataError, match="says what no writer says"):
        tc.load_state(tmp_path)
    assert "says what no writer says" in str(tc.verify(tmp_path))


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


# ------------------------------------------------------------------------------ content digests


def _small_tree():
    agent = trained(step=7, size=200)
    agent.model.w = np.arange(200, dtype="<f8") * 7  # the same bytes on every machine
    return agent


# Raising a format's version changes them; nothing else may.
GOLDEN = {
    "pickle": "7ea0f0314c21ec37a21679031fd638f6",  # with NumPy 2, whose pickles name other modules
    "msgpack": "7b017cd7b0a58105a89d5892c9b159f9",
}


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_equal_state_has_the_golden_digest_whenever_it_is_saved(tmp_path, format, monkeypatch):
    if format == "pickle" and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("NumPy 1 pickles other names")
    for year in (2020, 2040):
        monkeypatch.setattr("tune_ckpt.tree.writing._facts", lambda: {"created": f"{year}-01-01"})  # noqa: B023
        _small_tree().save_to_path(tmp_path / str(year), use_msgpack=format == "msgpack")
        assert tc.describe(tmp_path / str(year)).created.startswith(str(year))
        assert tc.describe(tmp_path / str(year)).digest == GOLDEN[format]


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_other_state_has_another_digest_up_to_the_root(tmp_path, format):
    digests = set()
    for index in range(3):
        agent = _small_tree()
        agent.model.head.w[0] += index
        agent.save_to_path(tmp_path / str(index), use_msgpack=format == "msgpack")
        digests.add(tc.describe(tmp_path / str(index)).digest)
    assert len(digests) == 3


def test_in_another_run_the_digest_is_the_same(tmp_path):
    code = (
        "import sys, tune_ckpt as tc; from tests.tree.test_verify import _small_tree;"
        "_small_tree().save_to_path(sys.argv[1], use_msgpack=True)"
    )
    for seed in ("1", "2"):  # sets and hashes come in another order
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        subprocess.run(command, env=environment, cwd=REPO, check=True)
        assert tc.describe(tmp_path / seed).digest == GOLDEN["msgpack"]


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
    check = reading.check_file

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


@pytest.mark.parametrize("damage", [None, _delete, _cut, _flip])
def test_the_progress_bar_counts_all_bytes_faults_or_not(saved, bars, damage):
    file = next((saved / "model").glob("state.*"))
    if damage:
        damage(file)
    tc.verify(saved, progress=True)
    total, *steps = bars
    metadata = json.loads((saved / "model" / "metadata.json").read_text())
    assert total > metadata["tune_ckpt"]["files"]["state"]["nbytes"]
    assert sum(steps) == total


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


# --------------------------------------------------------------------------- what RLlib wrote


@pytest.fixture(params=[False, True], ids=["pickle", "msgpack"])
def foreign(request, tmp_path):
    return write_tree(tmp_path / "rllib", use_msgpack=request.param)


def test_a_tree_of_rllibs_is_parsed_and_otherwise_unverified(foreign):
    report = tc.verify(foreign)
    assert report.ok
    assert report.unverified
    files = [file for file in foreign.rglob("*") if file.is_file() and file.suffix != ".json"]
    assert report.nbytes == sum(file.stat().st_size for file in files)
    assert "its files can be parsed, the rest is unverified" in str(report)


def _half(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [_delete, _cut, _half, _empty])
def test_what_can_be_noticed_of_a_damaged_tree_of_rllibs_is_reported(foreign, damage):
    files = [file for file in sorted(foreign.rglob("*")) if file.is_file()]
    for file in files:
        if damage is _delete and file.suffix == ".json":
            continue  # only the metadata name the other files
        whole = file.read_bytes()
        damage(file)
        report = tc.verify(foreign)
        name = str(file.relative_to(foreign))
        if damage is _delete and file.stem == "state":
            name = name.removesuffix(file.suffix)  # RLlib's metadata leave it out
        assert [fault.path for fault in report.faults] == [name]
        file.write_bytes(whole)


def test_nothing_that_a_pickle_of_rllibs_names_is_called(foreign, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "called"),)

    (foreign / "class_and_ctor_args.pkl").write_bytes(pickle.dumps({"class": Evil()}))
    assert tc.verify(foreign).ok
    assert not (tmp_path / "called").exists()


def test_links_to_folders_in_a_tree_of_rllibs_are_not_followed(foreign):
    for name in ("a", "b"):
        (foreign / "learner" / name).symlink_to("..")  # followed, they would lead round for ever
    report = tc.verify(foreign)
    assert report.ok
    assert [warning.path for warning in report.warnings] == ["learner/a", "learner/b"]
    assert [part.name for part in tc.describe(foreign, component="learner").components] == [
        "module"
    ]


def test_one_of_ours_inside_of_rllibs_is_verified(foreign):
    trained().save_to_path(foreign / "agent", use_msgpack=True)
    assert tc.verify(foreign).ok
    _flip(foreign / "agent" / "model" / "state.msgpack")
    (fault,) = tc.verify(foreign).faults
    assert fault.path == "agent/model/state.msgpack"


def _cases(corpus):
    return [case for case in sorted(corpus.iterdir()) if (case / "checkpoint").is_dir()]


def test_every_checkpoint_of_the_corpus_passes_and_is_unverified(corpus):
    for case in _cases(corpus):
        report = tc.verify(case / "checkpoint")
        assert report.ok, str(report)
        assert report.unverified
    assert len(_cases(corpus)) > 50


def test_a_file_cut_short_is_found_in_every_generation_of_rllibs(corpus, tmp_path):
    cases = [case for case in _cases(corpus) if any((case / "checkpoint").glob("*.json"))]
    for case in [case for case in cases if "tune" not in case.name]:
        path = tmp_path / case.name
        shutil.copytree(case / "checkpoint", path)
        suffixes = (".pkl", ".msgpack", ".msgpck", ".pt")
        files = [file for file in sorted(path.rglob("*")) if file.suffix in suffixes]
        for file in files:
            _cut(file)
        faults = {fault.path for fault in tc.verify(path).faults}
        assert faults >= {str(file.relative_to(path)) for file in files}, case.name
        shutil.rmtree(path)


@pytest.mark.slow
def test_what_rllib_writes_today_passes(tmp_path):
    import gymnasium as gym
    from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
    from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import (
        DefaultPPOTorchRLModule,
    )

    module = DefaultPPOTorchRLModule(
        observation_space=gym.spaces.Box(-1, 1, (4,)),
        action_space=gym.spaces.Discrete(2),
        model_config={"fcnet_hiddens": [8], "head_fcnet_hiddens": []},
        catalog_class=PPOCatalog,
    )
    for use_msgpack in (False, True):
        path = tmp_path / str(use_msgpack)
        module.save_to_path(path, use_msgpack=use_msgpack)
        report = tc.verify(path)
        assert report.ok
        assert report.unverified
        assert report.nbytes > 100
        assert tc.describe(path).cls.endswith(":DefaultPPOTorchRLModule")
        assert tc.describe(path).parameter_count > 50
        _cut(next(path.glob("module_state.*")))
        assert not tc.verify(path).ok
