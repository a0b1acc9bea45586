"""The examples run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_a_sweep_is_killed_resumes_and_its_best_checkpoint_is_used_without_ray():
    command = [sys.executable, str(EXAMPLES / "digits_sweep.py")]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Killed the driver (SIGKILL)" in run.stdout
    reported, again = re.findall(r"accuracy, \w+ \w+ +│ ([0-9.]+)", run.stdout)
    assert reported == again
    assert float(reported) > 0.9


def _printed(name, *options):
    command = [sys.executable, str(EXAMPLES / name), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
def test_ppos_best_checkpoint_plays_the_same_episode_without_ray():
    printed = _printed("rllib_ppo_sweep.py")
    assert "PPO of Ray" in printed
    (earned,) = re.findall(r"by the RLModule +│ ([0-9]+)", printed)
    (again,) = re.findall(r"without Ray +│ ([0-9]+)", printed)
    assert earned == again
    assert int(earned) > 0


@pytest.mark.slow
def test_an_old_checkpoint_is_rescued():
    printed = _printed("rescue_old_checkpoint.py")
    assert "Ray 2.3.1, version 1.0" in printed
    assert "No module named" in printed  # what today's Ray says
    assert re.search(r"action_dist_inputs +│ differ by 0 at most", printed)


@pytest.mark.slow
def test_a_function_trainable_goes_on_after_a_kill():
    printed = _printed("function_trainable.py")
    assert "The killed trial went on after epoch 3 of 6." in printed
    best = re.search(r"Best: trial .* epoch \d: ([0-9.]+)", printed)
    assert f"Restored into a new network: {best[1]}" in printed


@pytest.mark.slow
def test_the_best_checkpoint_of_torch_trainers_in_a_sweep_is_found():
    printed = _printed("torch_trainer_in_tune.py")
    best = re.search(r"Best: trial .* iteration \d: ([0-9.]+)", printed)
    assert f"Restored into a new network: {best[1]}" in printed
