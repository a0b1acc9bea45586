"""The examples run as they stand, each with the smallest settings that still show what it shows."""

from __future__ import annotations

import json
import os
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tune_ckpt as tc
from tests.conftest import REPO
from tests.train.runs import FASTER

EXAMPLES = REPO / "examples"

# Ray Serve's own imports warn of what they use of pydantic.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def smaller(tmp_path):
    """Write an example's settings with some of them replaced; return the option that names them."""

    def of(config, **settings):
        usual = yaml.safe_load((REPO / "configs" / config).read_text())
        (tmp_path / config).write_text(yaml.safe_dump({**usual, **settings}))
        return "--config", str(tmp_path / config)

    return of


@pytest.fixture
def printed(monkeypatch, capsys, ray_session):
    """Run an example in this process, which has a Ray already; return what it printed."""

    def of(name, *options):
        monkeypatch.setattr(sys, "argv", [str(EXAMPLES / name), *options])
        runpy.run_path(sys.argv[0], run_name="__main__")
        return capsys.readouterr().out

    return of


def _ran(name, *options, address="local"):
    command = [sys.executable, str(EXAMPLES / name), *options]
    environment = {**os.environ, "RAY_ADDRESS": address}  # else any Ray on this machine
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
def test_a_sweep_is_killed_resumes_and_its_best_checkpoint_is_used_without_ray(
    smaller, ray_session
):
    sizes = {"trials": 1, "iterations": 4, "kill_after_checkpoints": 2}
    address = ray_session.get_runtime_context().gcs_address
    told = _ran("digits_sweep.py", *smaller("digits_sweep.yaml", **sizes), address=address)
    assert "Killed the driver (SIGKILL)" in told
    reported, again = re.findall(r"accuracy, \w+ \w+ +│ ([0-9.]+)", told)
    assert reported == again
    assert float(reported) > 0.9


@pytest.mark.slow
def test_ppos_best_checkpoint_plays_the_same_episode_without_ray(printed, smaller):
    told = printed(
        "rllib_ppo_sweep.py", *smaller("ppo_cartpole.yaml", iterations=1, learning_rates=[0.003])
    )
    assert "PPO of Ray" in told
    (earned,) = re.findall(r"by the RLModule +│ ([0-9]+)", told)
    (again,) = re.findall(r"without Ray +│ ([0-9]+)", told)
    assert earned == again
    assert int(earned) > 0


@pytest.mark.slow
def test_an_old_checkpoint_is_rescued(printed):
    told = printed("rescue_old_checkpoint.py")
    assert "Ray 2.3.1, version 1.0" in told
    assert "No module named" in told  # what today's Ray says
    assert re.search(r"action_dist_inputs +│ differ by 0 at most", told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("synthetic-v0.1-ray2.0-style-ppo-single", "differ by "),
        ("ray2.3.1-py3.8-old-ppo-single_policy", "differ by "),
        ("ray2.10.0-py3.10-old-ppo-multi", "differ by "),
        ("ray2.7.1-py3.9-hybrid-ppo-single", "it is one already"),
        ("ray2.40.0-py3.10-new-ppo-single", "it is one already"),
        ("ray2.43.0-py3.11-new-ppo-single_module", "it is one already"),
    ],
)
def test_one_of_any_generation_is_rescued_from_a_relative_path(printed, monkeypatch, name, told):
    monkeypatch.chdir(REPO / "tests" / "data" / "rllib" / name)
    shown = printed("rescue_old_checkpoint.py", "checkpoint")
    assert told in shown
    assert "URI has empty scheme" not in shown
    assert re.search(r"an episode, by the bundle +│ [0-9]+ ", shown)


@pytest.mark.slow
def test_where_nothing_is_nothing_is_rescued(printed, tmp_path):
    with pytest.raises(SystemExit, match="is not a checkpoint: there is nothing"):
        printed("rescue_old_checkpoint.py", str(tmp_path / "nothing"))


@pytest.mark.slow
def test_a_function_trainable_goes_on_after_a_kill(printed, smaller):
    rates = {"learning_rates": [0.05], "killed": 0.05}
    told = printed("function_trainable.py", *smaller("function_trainable.yaml", epochs=4, **rates))
    assert "The killed trial went on after epoch 2 of 4." in told
    best = re.search(r"Best: trial .* epoch \d: ([0-9.]+)", told)
    assert f"Restored into a new network: {best[1]}" in told


@pytest.mark.slow
@pytest.mark.nightly
def test_the_best_checkpoint_of_torch_trainers_in_a_sweep_is_found(printed, smaller, monkeypatch):
    options = {"convert": "best", "metric": "accuracy", "verify": True, "pin_best": True}
    monkeypatch.setenv("RAY_TUNE_CALLBACKS", "tune_ckpt.EnvironmentCallback")
    monkeypatch.setenv("TUNE_CKPT_CALLBACK", json.dumps(options))
    for name, value in FASTER.items():
        monkeypatch.setenv(name, value)
    sizes = {"epochs": 1, "learning_rates": [0.1]}
    told = printed("torch_trainer_in_tune.py", *smaller("torch_trainer_in_tune.yaml", **sizes))
    best = re.search(r"Best: trial (.*), iteration (\d): ([0-9.]+)", told)
    assert f"Restored into a new network: {best[3]}" in told
    # Tune tells its callbacks of no checkpoint; at the end they find it nevertheless.
    report = Path(re.search(r"each of them in (.*)", told)[1])
    assert not json.loads(report.read_text())["summary"]["causes"]
    pinned = tc.pinned_checkpoint(report.parent)
    assert (pinned.trial_id, pinned.iteration) == (best[1], int(best[2]))
    assert tc.verify(pinned).ok


@pytest.mark.slow
def test_population_based_training_tells_where_trials_came_from(printed, smaller):
    told = printed("pbt.py", *smaller("pbt.yaml", iterations=4, learning_rates=[0.001, 0.3]))
    best = re.search(r"best: trial \w+, iteration (\d), loss", told)
    assert best[1] == "4"
    # Which of the two is best in the end is chance: the one that went on goes down by another rate.
    assert re.search(r"trial (\w+), iteration \d: from trial (?!\1 )\w+ at iteration \d", told)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_server_follows_the_best_model_of_a_running_sweep(printed, smaller):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sizes = {"learning_rates": [0.003]}
    told = printed("serve_best.py", *smaller("serve_best.yaml", port=port, **sizes))
    served = [float(right) for right in re.findall(r"([0-9.]+) of the answers are right", told)]
    assert len(served) > 1
    assert served == sorted(served)
    assert "right; the sweep is running." in told
    assert re.search(rf"had reported {served[-1]:.4f}\.", told)


def test_a_checkpoint_is_loaded_without_ray():
    assert float(_ran("load_without_ray.py")) > 0.5


def test_an_examples_first_line_says_what_it_shows():
    for path in EXAMPLES.glob("*.py"):
        first = path.read_text().partition("\n")[0]
        assert re.fullmatch(r'"""[A-Z].{30,}\.', first), path


def test_settings_that_are_wrong_are_told_before_anything_runs(tmp_path):
    (tmp_path / "x.yaml").write_text("iterations: many")
    command = [sys.executable, str(EXAMPLES / "pbt.py"), "--config", str(tmp_path / "x.yaml")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "iterations: it must be a whole number, and is the text 'many'" in run.stderr
    assert "learning_rates: it is missing" in run.stderr
