"""What is installed: the package, and nothing beside it."""

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import REPO

# The wheel that every run builds is installed and used by .ci/wheel.
pytestmark = [pytest.mark.slow, pytest.mark.nightly]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, REPO]
    subprocess.run(command, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return zipfile.ZipFile(made)


def test_the_wheel_holds_the_whole_package_and_only_it(wheel):
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    tracked = subprocess.run(
        ["git", "ls-files", "tune_ckpt"], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert sorted(names) == sorted(tracked.stdout.split())
    assert "tune_ckpt/py.typed" in names


def test_the_wheel_brings_the_command_and_the_license(wheel):
    (entry,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "tune-ckpt = tune_ckpt.__main__:main" in wheel.read(entry).decode()
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
