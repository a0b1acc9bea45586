"""``tune-ckpt resume``: a sweep goes on from the prompt."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.test_process import MAIN
from tests.conftest import REPO
from tests.sweep.folders import make_sweep
from tests.tune.resuming import Climber, new_tuner, results_of
from tune_ckpt.cli import cluster
from tune_ckpt.cli.resume import _address

CLIMBER = "tests.tune.resuming:Climber"


class Slow(Climber):
    """Takes its time once it was resumed, until a file says that it need not."""

    def step(self):
        go = Path(self.config["file"])
        while self.iteration >= 1 and not go.exists():
            go.with_name("waits").touch()
            time.sleep(0.05)
        return super().step()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, ray_session):
    """A sweep that ended after two iterations, and wants to be low."""
    storage = tmp_path_factory.mktemp("sweeps")
    new_tuner(storage, stop=2, cpus=None, metric="height", mode="min").fit()
    return storage / "run"


@pytest.mark.slow
def test_finished_trials_go_on_and_the_best_is_told(tk, sweep):
    answer = tk("resume", sweep, CLIMBER, "--extend", "training_iteration=4", "--json")
    assert answer.code == 0, answer.err
    assert set(answer.json["statuses"].values()) == {"TERMINATED"}
    assert (answer.json["best"]["metric"], answer.json["best"]["value"]) == ("height", 1.0)
    assert {trial["iteration"] for trial in answer.json["resumed"]} == {2}
    assert "goes on after iteration 2" in answer.err
    assert all(4 in results_of(folder) for folder in sweep.glob("Climber_*"))


@pytest.mark.slow
def test_only_the_answer_is_on_stdout(tk, sweep):
    answer = tk("resume", sweep, CLIMBER, "--portable", "--metric", "height")
    assert answer.code == 0, answer.err
    assert len(answer.out.splitlines()) == 1
    assert os.path.isdir(answer.out.strip())
    assert "2 of 2 trials have finished, 0 failed" in answer.err
    assert "best: height 1.0, " in answer.err  # the mode, too, is the sweep's


@pytest.mark.slow
@pytest.mark.nightly
def test_after_an_interrupt_the_same_command_goes_on(tk, tmp_path, ray_session):
    file = tmp_path / "go"
    sweep, space = tmp_path / tmp_path.name, {"rate": 1.0, "file": str(file)}
    file.touch()
    new_tuner(tmp_path, cls=Slow, name=tmp_path.name, stop=1, cpus=None, space=space).fit()
    file.unlink()
    address = ray_session.get_runtime_context().gcs_address  # else any Ray on this machine
    command = ["resume", sweep, "tests.cli.test_resume:Slow", "--address", address]
    command += ["--extend", "training_iteration=3"]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "waits").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # does what Ctrl-C does, though Ray has other plans
    told = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGINT, told
    assert "The same command goes on with it." in told
    assert told.endswith("tune-ckpt: interrupted\n")
    assert "setup failed" not in told
    file.touch()
    assert tk(*command).code == 0
    (trial,) = sweep.glob("Slow_*")
    assert max(results_of(trial)) == 3


@pytest.mark.parametrize(
    ("trainable", "told"),
    [
        ("Climber", "give the trainable as module:Name"),
        ("no.such:Climber", "there is no module 'no.such', neither installed nor in"),
        ("tets.tune.resuming:Climber", "nearest first: tests,"),
        ("tests/tune/resuming.py:Climber", "a file's: tests.tune.resuming:Climber"),
        ("tests.tune.resuming:Climbr", "nearest first: Climber,"),
        (
            "tests.tune.resuming:GOAL",
            "no class or function, but a dict. There are, nearest first: ",
        ),
        ("tests.cli.typed:trainer", "nearest first: train, other"),  # and no module, nor an array
        ("tests.tune.resuming:__doc__", "no class or function"),
        ("tests.tune.resuming:__doc__.uper", "nearest first: upper,"),
    ],
)
def test_a_trainable_that_is_not_there(tk, tmp_path, trainable, told):
    (tmp_path / "file").touch()
    answer = tk("resume", tmp_path, trainable)
    assert answer.code == 2
    assert told in answer.err


@pytest.mark.parametrize("limit", ["50", "=50", "training_iteration=many"])
def test_a_limit_that_is_none(tk, tmp_path, limit):
    (tmp_path / "file").touch()
    answer = tk("resume", tmp_path, CLIMBER, "--extend", limit)
    assert answer.code == 2
    assert "training_iteration=50" in answer.err


def test_a_folder_that_is_no_sweep_is_told_before_ray_is_started(tk, tmp_path, monkeypatch):
    monkeypatch.delattr(cluster, "connect")
    (tmp_path / "file").touch()
    answer = tk("resume", tmp_path, CLIMBER)
    assert answer.code == 2
    assert "no trial's folder is in it" in answer.err


def test_the_best_of_a_sweep_at_a_uri_is_told_with_what_opens_it():
    best = SimpleNamespace(path="bucket/run/T_0/checkpoint_000001", filesystem=object())
    told = _address("s3://bucket/run?scheme=http", best)
    assert told == "s3://bucket/run/T_0/checkpoint_000001?scheme=http"
    assert _address("run", SimpleNamespace(path="/x/run/T_0/c", filesystem=None)) == "/x/run/T_0/c"


def test_a_metric_that_no_result_has_is_refused_before_the_sweep_runs(tk, sweep_by_hand):
    answer = tk("resume", sweep_by_hand, CLIMBER, "--metric", "eval/loss")
    assert answer.code == 2
    assert "No result reports the metric 'eval/loss'. Reported, nearest first: eval/" in answer.err


@pytest.fixture
def sweep_by_hand(tmp_path):
    return make_sweep(tmp_path / "made")


@pytest.mark.slow
def test_without_a_best_there_is_no_answer_and_failed_trials_are_pointed_at(
    tk, tmp_path, ray_session
):
    # A name of its own: of sweeps of one name that begin in one second, Ray mixes the files.
    name = tmp_path.name
    new_tuner(tmp_path, cls=Failing, name=name, space={"rate": 1.0}, cpus=None).fit()
    command = ["resume", tmp_path / name, "tests.cli.test_resume:Failing"]
    answer = tk(*command)
    assert (answer.code, answer.out) == (1, ""), answer.err
    assert "1 failed; --resume-errored goes on with them" in answer.err
    assert "1 failed\n" in tk(*command, "--resume-errored").err


class Failing(Climber):
    """Fails at its second iteration."""

    def step(self):
        if self.iteration == 1:
            raise RuntimeError("planned")
        return super().step()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nosuchpackage", "cannot be imported here: No module named 'nosuchpackage'"),
        ("1 / 0", "failed with ZeroDivisionError: division by zero"),
        ("def f(:", "failed with SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch, code, told):
    from tune_ckpt.cli.options import WrongUse
    from tune_ckpt.cli.typed_names import load

    name = f"broken_code_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongUse, match=told.replace("'", ".")):
        load(f"{name}:A")


def test_a_module_in_the_working_folder_is_found(tmp_path, monkeypatch):
    from tune_ckpt.cli.typed_names import load

    (tmp_path / "my_training_code.py").write_text("class A:\n    class B:\n        pass\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    assert load("my_training_code:A.B").__name__ == "B"
