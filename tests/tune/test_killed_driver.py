"""A driver killed by SIGKILL in the middle of a sweep, and the sweep restored."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import tune_ckpt as tc
from tests.conftest import REPO
from tune_ckpt.tree.metadata import CONVERTED_FROM
from tune_ckpt.tree.reading import open_tree
from tune_ckpt.tree.storage.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.nightly]
DEADLINE_SECS = 240


def _start(folder, address):
    command = [sys.executable, "-m", "tests.tune.driver", str(folder)]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=REPO,
            env={**os.environ, "RAY_ADDRESS": address},
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, ray_session):
    """The folder of a sweep whose driver, with all its processes, was killed once."""
    folder = tmp_path_factory.mktemp("killed")
    driver = _start(folder, "local")
    deadline = time.monotonic() + DEADLINE_SECS
    while len(list(folder.glob("run/*/msgpack/checkpoint_*"))) < 2:
        assert driver.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not (folder / "run" / "tune_ckpt_report.json").exists()
    again = ray_session.get_runtime_context().gcs_address
    assert _start(folder, again).wait(DEADLINE_SECS) == 0
    return folder / "run"


def _checkpoints(experiment, *below):
    return {
        (trial.name, path.name): path
        for trial in experiment.iterdir()
        for path in trial.joinpath(*below).glob("checkpoint_*")
    }


def test_every_checkpoint_that_is_left_has_its_conversion_and_no_other_has(experiment):
    originals = _checkpoints(experiment)
    assert len(originals) == 6
    assert _checkpoints(experiment, "msgpack").keys() == originals.keys()


def test_each_conversion_is_of_what_the_resumed_trial_wrote(experiment):
    originals = _checkpoints(experiment)
    for key, copy in _checkpoints(experiment, "msgpack").items():
        source = open_tree(open_store(copy)).metadata.extra[CONVERTED_FROM]
        assert source == open_tree(open_store(originals[key])).metadata.digest
        assert tc.verify(copy).ok


def test_the_best_is_pinned_across_the_kill(experiment):
    record = tc.pinned_checkpoint(experiment)
    assert record.value == 4.0
    assert tc.verify(record).ok


def test_the_report_is_written_and_nothing_failed(experiment):
    report = json.loads((experiment / "tune_ckpt_report.json").read_text())
    assert not report["summary"]["causes"]


def test_no_snapshot_is_left(experiment):
    assert not [path for path in experiment.rglob("*") if ".tune_ckpt-" in path.name]
