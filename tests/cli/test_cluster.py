"""``tune-ckpt convert --address``: the work is done by a Ray cluster that runs elsewhere."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

import tune_ckpt as tc
from tests.cli.test_process import MAIN
from tests.conftest import REPO
from tests.sweep.folders import make_sweep

pytestmark = [pytest.mark.slow, pytest.mark.nightly]


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of one processor, and the environment in which it is reached."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**os.environ, **token, "PYTHONPATH": str(REPO)}
    command = ["from ray.scripts.scripts import main; main()", "start", "--head", "--block"]
    # A folder of its own, with a short name for its sockets: no other Ray shall find this one.
    folder = tempfile.mkdtemp(prefix="ray-")
    options = ["--port=0", "--num-cpus=1", "--include-dashboard=false", f"--temp-dir={folder}"]
    head = subprocess.Popen(
        [sys.executable, "-c", *command, *options, "--object-store-memory=80000000"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    told = ""
    while head.poll() is None and "will now block" not in told:
        told += head.stdout.readline()
    address = re.search(r"--address='(\S+)'", told)
    assert address, told
    yield address[1], environment
    head.terminate()
    head.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _convert(cluster, *arguments):
    address, environment = cluster
    command = [sys.executable, "-c", MAIN, "convert", *map(str, arguments), "--address", address]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_sweep_is_converted_there(cluster, sweep, tmp_path):
    damaged = tc.best_checkpoint(sweep, "eval/acc").path
    with open(f"{damaged}/state.pkl", "wb"):
        pass
    run = _convert(cluster, sweep, tmp_path / "new")
    out, told = run.communicate()
    assert (run.returncode, len(out.splitlines())) == (1, 3), told
    assert f"failed: {damaged}/state.pkl" in told
    assert "3 of 4 checkpoints converted" in told
    assert all(tc.verify(path).ok for path in out.splitlines())


def test_an_interrupt_leaves_nothing_half_done_there(cluster, tmp_path):
    trials = {f"aaaaa_{n:05}": (n, [0.1] * 60) for n in range(8)}
    sweep = make_sweep(tmp_path / "sweep", trials)
    run = _convert(cluster, sweep, tmp_path / "new")
    while not [*tmp_path.glob("new/*/checkpoint_*")] and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate()
    made = [*tmp_path.glob("new/*/checkpoint_*")]
    assert run.returncode == 130, told
    assert told.endswith("tune-ckpt: interrupted\n")
    assert 0 < len(made) < 470
    assert all(tc.verify(path).ok for path in made)
    assert not [*tmp_path.glob("new/*/.*")]
