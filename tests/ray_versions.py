"""Run the tests of Ray Tune and Ray Train with other versions of Ray, each in a venv of its own.

Run it:  python -m tests.ray_versions 2.48 2.54

A venv is made with this Python where there is none yet, below ``--venvs``; what follows ``--`` goes
to pytest. The newest supported Ray is what the rest of the suite runs with.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[1]
VENVS = Path.home() / ".cache" / "tune_ckpt" / "ray_versions"
TESTS = ["tests/tune", "tests/train", "tests/test_nodes.py"]
PACKAGES = [
    "hypothesis",
    "moto[server]>=5",
    "pillow",  # which RLlib imported without naming it
    "pandas<3",  # older than that is what Ray was made for
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "torch==2.13.0",
]


def environment(version: str, venvs: Path) -> str:
    """Return the Python of a venv with that version of Ray; it is made where need be."""
    folder = venvs / f"ray-{version}"
    python, complete = folder / "bin" / "python", folder / "complete"
    wanted = [f"ray[tune,train,rllib]=={version}.*", *PACKAGES]
    if not complete.exists() or complete.read_text().split() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, str(REPO), *wanted], check=True)
        # The package itself is taken from this checkout.
        subprocess.run([*install[:3], "uninstall", "-q", "-y", "tune_ckpt"], check=True)
        complete.write_text("\n".join(wanted))
    return str(python)


def run_tests(python: str, options: list[str]) -> int:
    """Run the tests, and return pytest's exit code."""
    variables = {
        "PYTHONPATH": str(REPO),
        "RAY_TRAIN_V2_ENABLED": "1",  # before 2.51 not the default
    }
    ignored = ["-W", "ignore"]  # older Rays warn of what they use of others
    command = [python, "-m", "pytest", "-q", "-n0", *ignored, "-m", "", *(options or TESTS)]
    return subprocess.run(
        command, cwd=REPO, env={**os.environ, **variables}, check=False
    ).returncode


def main() -> None:
    """Run the tests with each version, and say which passed."""
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("versions", nargs="+", help="minor versions, such as 2.48")
    parser.add_argument("--venvs", type=Path, default=VENVS)
    arguments = parser.parse_args(given[:end])
    codes = {}
    for version in arguments.versions:
        print(f"Ray {version}", flush=True)
        codes[version] = run_tests(environment(version, arguments.venvs), given[end + 1 :])
    for version, code in codes.items():
        print(f"Ray {version}: {'passed' if code == 0 else f'FAILED ({code})'}")
    sys.exit(any(codes.values()))


if __name__ == "__main__":
    main()
