"""``tune-ckpt convert`` and ``tune-ckpt weights``."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Agent, Secretive, same_agents, trained
from tests.conftest import REPO
from tests.rllib.cases import one
from tests.sweep.folders import make_sweep
from tune_ckpt import weights_file
from tune_ckpt.cli import batch
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.tree.inspection.contents import open_contents


def test_convert_prints_the_new_path(tk, saved, tmp_path):
    answer = tk("convert", saved, tmp_path / "d")
    assert (answer.code, answer.out) == (0, f"{tmp_path / 'd'}\n")
    assert same_agents(Agent.from_checkpoint(tmp_path / "d"), trained())


def test_convert_as_json(tk, saved, tmp_path):
    (answer,) = tk("convert", saved, tmp_path / "d", "--json").json
    assert answer == {
        "src": str(saved),
        "dst": str(tmp_path / "d"),
        "error": None,
        "not_carried": [],
    }


def test_rllibs_own_are_not_converted_in_place(tk, corpus):
    answer = tk("convert", corpus / "ray2.60.0-py3.11-new-ppo-single" / "checkpoint")
    assert answer.code == 2
    assert "give as DST the path of a new folder" in answer.err


def test_rllibs_own_become_no_pickle(tk, corpus, tmp_path):
    source = corpus / "ray2.60.0-py3.11-new-ppo-single" / "checkpoint"
    answer = tk("convert", source, tmp_path / "d", "--to", "pickle")
    assert answer.code == 2
    assert "--to pickle is not possible: RLlib's own checkpoints are written as msg" in answer.err


def test_a_sweep_of_rllibs_own_is_not_converted_in_place(tk, corpus):
    answer = tk("convert", corpus / "ray2.60.0-py3.11-tune-ppo" / "checkpoint" / "ppo_exp", "-j", 1)
    assert answer.code == 1
    assert "This is not converted in place: give as DST the path of a new folder." in answer.err
    assert "dst=None" not in answer.err


def test_a_single_file_of_rllibs_is_converted(tk, corpus, tmp_path):
    folder = corpus / "synthetic-v0.1-ray2.0-style-ppo-single" / "checkpoint"
    (file,) = [path for path in folder.glob("checkpoint-*") if path.suffix == ""]
    assert tk("convert", file, tmp_path / "d").code == 0
    assert tc.get_checkpoint_info(tmp_path / "d")["type"] == "Algorithm"


def test_a_process_that_is_killed_is_an_outcome(monkeypatch):
    def submit(*_):
        future = Future()
        future.set_exception(BrokenProcessPool("a process was killed"))
        return future

    monkeypatch.setattr(batch.ProcessPoolExecutor, "submit", submit)
    many = [batch.Conversion(name, None) for name in "ab"]
    outcomes = batch.run_all(many, jobs=2, address=None, progress=False)
    assert [outcome.error for outcome in outcomes] == ["a process was killed"] * 2


def test_convert_to_pickle_and_back(tk, saved, tmp_path):
    tk("convert", saved, tmp_path / "m")
    assert tk("convert", tmp_path / "m", tmp_path / "p", "--to", "pickle").code == 0
    assert tc.describe(tmp_path / "p").format == "pickle"
    assert tc.diff(saved, tmp_path / "p").equal


def test_convert_of_rllibs_own_tells_what_was_not_carried(tk, tmp_path):
    answer = tk("convert", one("ray2.10.0-py3.10-old-ppo-multi").path, tmp_path / "d")
    assert answer.code == 0
    assert "not carried: " in answer.err
    assert answer.err.splitlines()[-1].startswith("config= is given in Python: tune_ckpt.rllib.")
    assert tc.get_checkpoint_info(tmp_path / "d")["format"] == "msgpack"


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_convert_of_a_sweep_gathers_failures_and_goes_on(tk, sweep, tmp_path, jobs):
    damaged = tc.best_checkpoint(sweep, "eval/acc").path
    with open(f"{damaged}/state.pkl", "wb"):
        pass
    answer = tk("convert", sweep, tmp_path / "new", "--jobs", jobs, "--json")
    assert answer.code == 1
    failed = [outcome for outcome in answer.json if outcome["error"]]
    assert [outcome["src"] for outcome in failed] == [damaged]
    made = [outcome["dst"] for outcome in answer.json if outcome["dst"]]
    assert len(made) == 3
    for path in made:
        assert tc.describe(path).format == "msgpack"
        assert tc.verify(path).ok


def test_convert_of_a_sweep_tells_the_option_that_pickles_need(tk, sweep, tmp_path):
    (secret, *_) = sorted(sweep.rglob("checkpoint_*"))
    shutil.rmtree(secret)
    Secretive().save_to_path(secret)
    answer = tk("convert", sweep, tmp_path / "new", "--jobs", 1)
    assert answer.code == 1
    assert "pass --allow-pickle;" in answer.err
    assert "allow_pickle=True" not in answer.err


def test_convert_of_a_sweep_in_place(tk, sweep):
    answer = tk("convert", sweep, "--jobs", 1)
    assert answer.code == 0
    assert "4 of 4 checkpoints converted" in answer.err
    assert not [*sweep.rglob("checkpoint_*/**/*.pkl")]
    assert tc.best_checkpoint(sweep, "eval/acc").restore(Agent).step == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_whole_checkpoints_and_exits_with_130(tmp_path, number):
    trials = {f"aaaaa_{n:05}": (n, [0.1] * 20) for n in range(4)}
    sweep = make_sweep(tmp_path / "sweep", trials)
    code = "from tune_ckpt.cli import main\nif __name__ == '__main__': main()"
    (tmp_path / "tk.py").write_text(code)
    command = [sys.executable, tmp_path / "tk.py", "convert", sweep, tmp_path / "new", "-j", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    run = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    while not [*tmp_path.glob("new/*/checkpoint_*")] and run.poll() is None:
        time.sleep(0.01)  # until the first is there
    os.killpg(run.pid, number)
    _, told = run.communicate()
    made = [*tmp_path.glob("new/*/checkpoint_*")]
    assert (run.returncode, told) == (130, "tune-ckpt: interrupted\n")
    assert 0 < len(made) < 76
    assert all(tc.verify(path).ok for path in made)
    assert not [*tmp_path.glob("new/*/.*")]


# ------------------------------------------------------------------------------------- weights


def test_weights_by_component_and_place(tk, saved, tmp_path):
    answer = tk("weights", saved, "-o", tmp_path / "w.npz")
    assert (answer.code, answer.out) == (0, f"{tmp_path / 'w.npz'}\n")
    with np.load(tmp_path / "w.npz") as found:
        assert sorted(found) == ["model/head/w", "model/w"]
        np.testing.assert_array_equal(found["model/w"], trained().model.w)


def test_weights_as_safetensors(tk, saved, tmp_path):
    from safetensors.numpy import load_file

    out = tmp_path / "w.safetensors"
    answer = tk("weights", saved, "--component", "model/head", "-o", out, "--json").json
    facts = {"dtype": "float32", "shape": [2]}
    assert answer == {"path": str(out), "nbytes": 8, "arrays": {"w": facts}}
    np.testing.assert_array_equal(load_file(out)["w"], trained().model.head.w)


@pytest.mark.parametrize("component", [None, "p1"])
def test_weights_of_rllibs_own_are_those_of_its_policies(tk, corpus, tmp_path, component):
    source = corpus / "ray2.60.0-py3.11-new-ppo-multi" / "checkpoint"
    options = ["--component", component] if component else []
    assert tk("weights", source, "-o", tmp_path / "w.npz", *options).code == 0
    expected = tc.rllib.load_weights(source)
    with np.load(tmp_path / "w.npz") as found:
        if component:
            assert set(found) == set(expected["p1"])
        else:
            assert set(found) == {f"{p}/{name}" for p in expected for name in expected[p]}


def test_weights_of_a_single_file_of_rllibs(tk, corpus, tmp_path):
    folder = corpus / "synthetic-v0.1-ray2.0-style-ppo-single" / "checkpoint"
    (file,) = [path for path in folder.glob("checkpoint-*") if path.suffix == ""]
    assert tk("weights", file, "-o", tmp_path / "w.npz").code == 0


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_arrays_of_any_layout_are_the_same_again(tk, tmp_path, suffix):
    from safetensors.numpy import load_file

    arrays = {
        "file": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.float32(3)[...],
        "empty": np.zeros((0, 2)),
        "flags": np.array([True, False]),
    }
    tc.save_state(arrays, tmp_path / "c")
    out = tmp_path / f"w.{suffix}"
    assert tk("weights", tmp_path / "c", "-o", out).code == 0
    found = dict(np.load(out)) if suffix == "npz" else load_file(out)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)


def test_bfloat16_goes_into_safetensors_and_is_refused_by_npz(tk, tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    from safetensors import safe_open

    tc.save_state({"w": np.ones(3, ml_dtypes.bfloat16)}, tmp_path / "c")
    assert tk("weights", tmp_path / "c", "-o", tmp_path / "w.safetensors").code == 0
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert str(file.get_tensor("w").dtype) == "torch.bfloat16"
    refused = tk("weights", tmp_path / "c", "-o", tmp_path / "w.npz")
    assert refused.code == 2
    assert "w (bfloat16)" in refused.err
    assert not (tmp_path / "w.npz").exists()


def test_one_file_is_open_at_a_time(saved, monkeypatch):
    opened, most = [0], [0]

    @contextmanager
    def counted(*args):
        opened[0] += 1
        most[0] = max(most[0], opened[0])
        with open_contents(*args) as contents:
            yield contents
        opened[0] -= 1

    monkeypatch.setattr(weights_file, "open_contents", counted)
    assert len(weights_file.read_arrays(saved)) == 2
    assert most == [1]


def test_objects_are_refused_by_every_kind_of_file(tmp_path):
    for suffix in ("npz", "safetensors"):
        with pytest.raises(InvalidArgumentError, match=r"cannot hold w \(object\); it may be"):
            weights_file.write_arrays({"w": np.array([None])}, tmp_path / f"w.{suffix}")


def test_a_state_without_arrays_has_no_weights(tk, tmp_path):
    tc.save_state({"step": 1}, tmp_path / "c")
    answer = tk("weights", tmp_path / "c", "-o", tmp_path / "w.npz")
    assert answer.code == 1
    assert "holds no arrays" in answer.err


def test_an_unknown_kind_of_file_is_wrong_use(tk, plain, tmp_path):
    answer = tk("weights", plain, "-o", tmp_path / "w.h5")
    assert answer.code == 2
    assert ".safetensors" in answer.err


def test_nothing_is_read_where_the_weights_cannot_be_written(tk, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(weights_file, "read_arrays", lambda *_: pytest.fail("they were read"))
    assert tk("weights", saved, "-o", tmp_path / "w.txt").code == 2
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    assert "pip install safetensors" in tk("weights", saved, "-o", tmp_path / "w.safetensors").err
