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


def _run(name):
    command = [sys.executable, str(EXAMPLES / name)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
def test_a_function_trainable_goes_on_after_a_kill():
    printed = _run("function_trainable.py")
    assert "The killed trial went on after epoch 3 of 6." in printed
    best = re.search(r"Best: trial .* epoch \d: ([0-9.]+)", printed)
    assert f"Restored into a new network: {best[1]}" in printed


@pytest.mark.slow
def test_the_best_checkpoint_of_torch_trainers_in_a_sweep_is_found():
    printed = _run("torch_trainer_in_tune.py")
    best = re.search(r"Best: trial .* iteration \d: ([0-9.]+)", printed)
    assert f"Restored into a new network: {best[1]}" in printed
