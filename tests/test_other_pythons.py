"""What one Python saves, another loads, with nothing but msgpack, numpy and xxhash installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tune_ckpt as tc
from tests.portable_values import values

REPO = Path(__file__).parents[1]


def find_interpreter(version):
    """Return an interpreter that pyenv has, or one on PATH; None where there is none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(root.glob(f"{version}.*/bin/python"))
    return str(found[-1]) if found else shutil.which(f"python{version}")


def bare_environment(interpreter, folder):
    """Make an environment without a pip of its own: this Python's is four times as quick."""
    subprocess.run([interpreter, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-compile"]
    version = site.parent.name.removeprefix("python")
    install += ["--disable-pip-version-check", "--only-binary=:all:"]
    there = ["--target", str(site), "--python-version", version]
    subprocess.run([*install, *there, "msgpack", "numpy", "xxhash"], check=True)
    return str(folder / "bin" / "python")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_a_state_is_equal_in_another_python_without_ray(tmp_path, version):
    interpreter = find_interpreter(version)
    if interpreter is None:
        pytest.skip(f"there is no Python {version} here")
    python = bare_environment(interpreter, tmp_path / "venv")
    tc.save_state(values(), tmp_path / "c")
    script = [python, "-W", "error", str(REPO / "tests" / "portable_values.py")]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    run = subprocess.run(
        [*script, str(tmp_path / "c"), str(tmp_path / "there")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("equal\n", "")
    assert tc.describe(tmp_path / "there").digest == tc.describe(tmp_path / "c").digest


def test_the_state_is_equal_in_this_python(tmp_path):
    tc.save_state(values(), tmp_path / "c")
    script = [sys.executable, str(REPO / "tests" / "portable_values.py"), str(tmp_path / "c")]
    run = subprocess.run(script, capture_output=True, text=True, check=False)
    assert run.stdout == "equal\n", run.stderr
