"""Ctrl-C and SIGTERM in the middle of a command: nothing half-done, a word, and 130."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import tune_ckpt as tc
from tests.conftest import REPO

# The command is interrupted while it writes, a moment before it has written what it wanted to.
INTERRUPTED = """
import os, signal, sys
from tune_ckpt.cli import main
from tune_ckpt.tree.storage import traffic

number, _, left = sys.argv.pop(1).partition(":")
left = int(left)

def tell(nbytes):
    global left
    left -= nbytes
    if left <= 0:
        left = 1 << 60
        os.kill(os.getpid(), int(number))

traffic.tell = tell
if __name__ == "__main__":
    main()
"""
COMMANDS = {
    "convert": ["{saved}", "{new}"],
    "convert in place": ["{saved}"],
    "weights": ["{saved}", "-o", "{new}.npz"],
    "best": ["{sweep}", "--metric", "eval/acc", "-o", "{new}"],
    "plot": ["{sweep}", "--metric", "eval/acc", "-o", "{new}.svg"],
}


def _run(number, after, *arguments, by=()):
    return subprocess.run(
        [*by, sys.executable, "-c", INTERRUPTED, f"{int(number)}:{after}", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("told", "number"),
    [
        *((told, signal.SIGINT) for told in COMMANDS),
        ("convert", signal.SIGTERM),
    ],
)
def test_an_interrupted_command_leaves_all_as_it_was(told, number, saved, sweep, tmp_path):
    before = _files(tmp_path)
    places = {"saved": saved, "sweep": sweep, "new": tmp_path / "new"}
    arguments = [word.format(**places) for word in COMMANDS[told]]
    after = 10**4 if told == "plot" else 2000
    run = _run(number, after, told.split()[0], *arguments)
    assert (run.returncode, run.stdout) == (130, "")
    assert run.stderr == "tune-ckpt: interrupted\n"
    assert _files(tmp_path) == before


def test_sigterm_ends_a_command_in_the_background(saved, tmp_path):
    by = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # as a shell does for what ends with &
    run = _run(signal.SIGTERM, 2000, "convert", saved, tmp_path / "new", by=by)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "tune-ckpt: interrupted\n")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_wherever_it_is_interrupted_a_checkpoint_is_whole(tmp_path):
    path = tmp_path / "c"
    tc.save_state({f"w{n}": np.arange(2**12) + n for n in range(8)}, path)
    before, nbytes = tc.load_state(path), sum(file.stat().st_size for file in path.iterdir())
    codes = []
    for part in range(1, 5):  # it is read, then written
        run = _run(signal.SIGINT, part * nbytes // 2, "convert", path, "--to", "pickle")
        codes.append(run.returncode)
        assert tc.verify(path).ok, run.stderr
        np.testing.assert_equal(tc.load_state(path), before)
        assert [found.name for found in tmp_path.iterdir()] == ["c"]
    assert codes[:3] == [130] * 3
