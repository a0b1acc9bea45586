"""The command."""

import subprocess
import sys

import pytest

from tests.agents import Agent, trained


def _run(*args):
    command = [sys.executable, "-c", "from tune_ckpt.cli import main; main()", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def saved(tmp_path):
    trained().save_to_path(tmp_path / "c")
    return tmp_path / "c"


def test_verify_says_yes_and_names_what_is_damaged(saved):
    assert _run("verify", saved).returncode == 0
    (saved / "state.pkl").unlink()
    run = _run("verify", saved)
    assert run.returncode == 3
    assert "state.pkl: it is missing" in run.stdout


def test_convert_prints_the_new_path(saved, tmp_path):
    run = _run("convert", saved, tmp_path / "d")
    assert (run.returncode, run.stdout) == (0, f"{tmp_path / 'd'}\n")
    assert Agent.from_checkpoint(tmp_path / "d").step == 7


def test_an_error_is_a_message_and_no_traceback(tmp_path):
    run = _run("convert", tmp_path / "none")
    assert run.returncode == 1
    assert run.stderr.startswith("tune-ckpt: ")
    assert "nothing is there" in run.stderr
    assert "Traceback" not in run.stderr


def test_wrong_use_exits_with_2():
    assert _run("verify").returncode == 2
