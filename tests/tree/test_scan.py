"""What pickles would import, found without importing."""

import json
import os
import pickle
import subprocess
import zipfile

import cloudpickle
import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import trained
from tune_ckpt.errors import NotACheckpointError
from tune_ckpt.tree.inspection.verdicts import judged
from tune_ckpt.tree.storage import traffic


class _Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("builtins:dict", "harmless"),
        ("collections:OrderedDict", "harmless"),
        ("numpy.core.multiarray:_reconstruct", "harmless"),
        ("numpy._core.multiarray:scalar", "harmless"),
        ("torch._utils:_rebuild_tensor_v2", "harmless"),
        ("torch:float32", "harmless"),
        ("my.models:Net", "unknown"),
        ("operator:getitem", "unknown"),
        ("pickle:persistent_load", "harmless"),
        ("osmosis:system", "unknown"),
        ("os:system", "dangerous"),
        ("posix:system", "dangerous"),
        ("nt:system", "dangerous"),
        ("subprocess:Popen", "dangerous"),
        ("builtins:eval", "dangerous"),
        ("__builtin__:eval", "dangerous"),
        ("builtins:getattr", "dangerous"),
        ("importlib:import_module", "dangerous"),
        ("importlib._bootstrap:_load", "dangerous"),
        ("pickle:loads", "dangerous"),
        ("torch:load", "dangerous"),
        ("ray.cloudpickle.cloudpickle:_make_function", "dangerous"),
        ("cloudpickle.cloudpickle:_make_skeleton_class", "dangerous"),
        ("types:CodeType", "dangerous"),
        # Through a module that is harmless itself.
        ("logging:os.system", "dangerous"),
        ("json:decoder.sys.modules", "dangerous"),
        ("random:_os.system", "unknown"),
    ],
)
def test_names_are_judged(name, verdict):
    found = judged(name)
    assert found.verdict == verdict
    assert bool(found.reason) is (verdict == "dangerous")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_attack_of_any_protocol_is_found_and_not_run(tmp_path, protocol):
    made = tmp_path / "made"
    attack = _Calls(os.system, f"touch {made}")
    (tmp_path / "state.pkl").write_bytes(pickle.dumps({"w": attack}, protocol))
    report = tc.scan(tmp_path)
    assert not report.ok
    (file,) = report.files
    assert (file.path, file.verdict) == ("state.pkl", "dangerous")
    assert not made.exists()


def test_a_checkpoint_of_plain_data_is_harmless(tmp_path):
    trained().save_to_path(tmp_path / "c")
    report = tc.scan(tmp_path / "c" / "state.pkl")
    assert report.files
    assert {file.verdict for file in report.files} == {"harmless"}


def test_msgpack_holds_no_pickle(tmp_path):
    tc.save_state({"step": 1, "w": np.ones(3)}, tmp_path / "c")
    assert tc.scan(tmp_path / "c").files == []


def test_code_that_cloudpickle_brings_along_is_dangerous(tmp_path):
    (tmp_path / "f.pkl").write_bytes(cloudpickle.dumps(lambda x: x + 1))
    report = tc.scan(tmp_path)
    assert "is code itself" in {named.reason for named in report.named("dangerous")}


def test_a_pickle_inside_a_pickle_is_looked_through(tmp_path):
    inner = pickle.dumps(_Calls(subprocess.call, "x"))
    for _ in range(2):
        inner = pickle.dumps({"worker": inner})
    (tmp_path / "checkpoint-7").write_bytes(inner)
    assert not tc.scan(tmp_path).ok


def test_what_is_hidden_too_deep_is_unknown(tmp_path):
    inner = pickle.dumps(_Calls(subprocess.call, "x"))
    for _ in range(9):
        inner = pickle.dumps({"worker": inner})
    (tmp_path / "a.pkl").write_bytes(inner)
    (file,) = tc.scan(tmp_path).files
    assert file.verdict == "unknown"
    assert "too many" in file.problem
    assert not tc.scan(tmp_path).ok


def test_hexadecimal_pickles_in_tunes_json_are_looked_through(tmp_path):
    blob = pickle.dumps(_Calls(os.system, "x")).hex()
    state = {"trial_data": [json.dumps({"value": blob})]}
    (tmp_path / "experiment_state-2026.json").write_text(json.dumps(state))
    assert not tc.scan(tmp_path).ok


def test_a_digest_that_begins_as_a_pickle_is_none(tmp_path):
    (tmp_path / "metadata.json").write_text(json.dumps({"digest": "8004" + "c1" * 14}))
    assert tc.scan(tmp_path).files == []


def test_a_pickle_is_known_by_its_content(tmp_path):
    (tmp_path / "weights.bin").write_bytes(pickle.dumps(_Calls(os.system, "x")))
    (tmp_path / "notes.txt").write_text("nothing")
    assert [file.path for file in tc.scan(tmp_path).files] == ["weights.bin"]


def test_torchs_files_are_looked_through(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(3)}, tmp_path / "module_state.pt")
    torch.save({"w": _Calls(os.system, "x")}, tmp_path / "bad.bin")
    verdicts = {file.path: file.verdict for file in tc.scan(tmp_path).files}
    assert verdicts == {"module_state.pt": "harmless", "bad.bin": "dangerous"}


def test_what_torch_exports_is_looked_through(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": _Calls(os.system, "x")}, tmp_path / "inputs")
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:  # as torch.export does
        archive.writestr("model/models/model.json", "{}")
        archive.write(tmp_path / "inputs", "model/data/sample_inputs/model.pt")
    (file,) = tc.scan(tmp_path / "model.pt2").files
    assert (file.verdict, file.problem) == ("dangerous", None)


def test_single_file_checkpoints_are_looked_through(tmp_path):
    tc.save_state({"x": _Calls(os.system, "x")}, tmp_path / "c", format="pickle")
    tc.archive(tmp_path / "c", tmp_path / "runs" / "c.zip")
    for path, told in ((tmp_path / "runs" / "c.zip", ""), (tmp_path / "runs", "c.zip/")):
        report = tc.scan(path)
        assert report.path == str(path)
        (file,) = report.files
        assert (file.path, file.verdict) == (f"{told}state.pkl", "dangerous")


def test_other_zip_files_are_files_like_any(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": _Calls(os.system, "x")}, tmp_path / "torch.zip")
    (tmp_path / "none.zip").write_bytes(b"nothing")
    for path in (tmp_path, tmp_path / "torch.zip"):
        assert [(file.path, file.verdict) for file in tc.scan(path).files] == [
            ("torch.zip", "dangerous")
        ]


def test_what_cannot_be_parsed_is_unknown(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x05nonsense")
    (file,) = tc.scan(tmp_path / "a.pkl").files
    assert file.verdict == "unknown"
    assert file.problem
    assert not tc.scan(tmp_path).ok


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_a_damaged_pickle_runs_before_the_damage_is_found(tmp_path, protocol):
    whole = pickle.dumps([_Calls(os.system, "x")] * 2 + ["y" * 99], protocol)
    (tmp_path / "cut.pkl").write_bytes(whole[:-50])
    report = tc.scan(tmp_path)
    assert [named.name for named in report.named("dangerous")] == [f"{os.name}:system"]
    assert report.files[0].problem


def test_a_storage_of_torchs_that_is_a_damaged_pickle_is_looked_through(tmp_path):
    pytest.importorskip("torch")
    from torch.storage import _load_from_bytes

    attack = _Calls(_load_from_bytes, pickle.dumps(_Calls(os.system, "x")))
    (tmp_path / "state.pkl").write_bytes(pickle.dumps({"w": attack}))
    assert [named.name for named in tc.scan(tmp_path).named("dangerous")] == [f"{os.name}:system"]


def test_a_pickle_behind_another_in_the_same_file_is_looked_through(tmp_path):
    second = pickle.dumps(_Calls(os.system, "x"))
    (tmp_path / "state.pkl").write_bytes(pickle.dumps({"a": 1}) * 2 + second)
    assert not tc.scan(tmp_path).ok


def test_links_to_folders_are_not_followed(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(1))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [file.path for file in tc.scan(tmp_path).files] == ["a.pkl"]


def test_nothing_is_there(tmp_path):
    with pytest.raises(NotACheckpointError):
        tc.scan(tmp_path / "none")


def test_a_report_is_text_and_plain_values(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(_Calls(os.system, "x")))
    report = tc.scan(tmp_path)
    assert "dangerous posix:system (runs commands): a.pkl" in str(report)
    told = json.loads(json.dumps(report.to_dict()))
    assert list(told) == ["path", "ok", "files"]
    assert list(told["files"][0]) == ["path", "nbytes", "names", "problem", "verdict"]


@pytest.mark.parametrize(
    ("name", "ok"),
    [
        ("ray2.60.0-py3.11-new-ppo-multi", False),  # it brings code along
        ("synthetic-v0.1-ray2.0-style-ppo-single", True),
    ],
)
def test_rllibs_own_are_looked_through(corpus, name, ok):
    report = tc.scan(corpus / name)
    assert report.ok is ok
    assert report.files
    assert not [file for file in report.files if file.problem]


def test_of_what_is_no_pickle_only_the_head_is_read(tmp_path):
    (tmp_path / "arrays.bin").write_bytes(bytes(2**20))
    pickled = pickle.dumps(_Calls(os.system, "true"))
    (tmp_path / "a.pkl").write_bytes(pickled)
    read = []
    with traffic.heard(read.append):
        tc.scan(tmp_path)
    assert sum(read) < 2 * len(pickled) + 2**10


def test_what_is_found_is_told_at_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(pickle.dumps(_Calls(os.system, "true")))
    told = []
    report = tc.scan(tmp_path, found=told.append)
    assert told == report.files
    assert [file.verdict for file in told] == ["dangerous"] * 2
