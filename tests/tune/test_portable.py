"""Resume without the sweep's pickles, and across Pythons and Rays."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
# Environments with Ray and this package's dependencies: making one takes minutes, so they are not
# made here: TUNE_CKPT_PYTHONS='{"3.12": "/path/to/python", "3.13": "...", "ray 2.48": "..."}'.
PYTHONS = json.loads(os.environ.get("TUNE_CKPT_PYTHONS", "{}"))

pytestmark = pytest.mark.slow


def _python(name):
    if name not in PYTHONS:
        pytest.skip(f"no environment with Ray for {name}: name one in TUNE_CKPT_PYTHONS")
    return PYTHONS[name]


def _run(python, what, storage, log, **variables):
    environment = {**os.environ, "PYTHONPATH": str(REPO), **variables}
    command = [python, "-m", "tests.tune.portable_sweep", what, str(storage)]
    return subprocess.Popen(command, env=environment, cwd=REPO, stdout=log, stderr=log)


def _lines(storage):
    return sorted(len(f.read_text().splitlines()) for f in storage.glob("run/*/result.json"))


def _killed_midway(python, storage):
    """Start a sweep and kill its driver when two trials have reached their third iteration."""
    with (storage / "start.log").open("w") as log:
        driver = _run(python, "start", storage, log, TUNE_CKPT_TO_BE_KILLED="1")
        while _lines(storage)[-2:] != [3, 3]:
            assert driver.poll() is None, (storage / "start.log").read_text()
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
        driver.wait()


def _resumed(python, storage, what="portable"):
    with (storage / "resume.log").open("w") as log:
        code = _run(python, what, storage, log).wait(timeout=300)
    return code, (storage / "resume.log").read_text()


def _check(output):
    (found,) = re.findall(r"results: (.*)", output)
    results = json.loads(found)
    assert [rate for rate, _, _ in results] == [1.0, 2.0, 3.0, 4.0]
    assert all(curved == rate * reached + 1 for rate, reached, curved in results)
    assert results[-1][1] == 8  # HyperBand lets the best reach the end
    assert re.search(r"goes on after iteration [2-3]", output)


# In the same ones, test_resume_from_results.py shows it.
@pytest.mark.parametrize(
    ("writer", "reader"),
    [("3.11", "3.12"), ("3.11", "3.13"), ("ray 2.48", "3.11"), ("ray 2.48", "3.12")],
)
def test_a_sweep_goes_on_in_another_python_or_ray(tmp_path, writer, reader):
    here = {".".join(map(str, sys.version_info[:2])): sys.executable}
    writer, reader = ({**here, **PYTHONS}.get(name) or _python(name) for name in (writer, reader))
    _killed_midway(writer, tmp_path)
    code, output = _resumed(reader, tmp_path)
    assert code == 0, output
    _check(output)


@pytest.mark.parametrize("reader", ["3.12", "3.13"])
def test_pickled_code_of_another_python_is_refused_not_run(tmp_path, reader):
    reader = _python(reader)
    _killed_midway(sys.executable, tmp_path)
    code, output = _resumed(reader, tmp_path, "resume")
    assert code == 1, output
    assert "PickleReadError" in output
    assert "it holds code of Python 3.11" in output
    assert "portable=True" in output
