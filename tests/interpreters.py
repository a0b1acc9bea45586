"""Other Pythons on this machine, and environments of theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPO


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


def run_script(python, script, *arguments):
    """Run one of the tests' scripts there, warnings being errors."""
    return subprocess.run(
        [python, "-W", "error", str(REPO / "tests" / script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
