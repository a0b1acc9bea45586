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
