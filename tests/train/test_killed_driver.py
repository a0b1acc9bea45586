"""A run that is killed with its driver, then with its controller, and goes on with other workers.

The driver has two workers and is killed after two steps. The same name goes on with one worker,
whose controller is killed after two more, and ends with two workers again.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray.train
from ray import tune

import tune_ckpt as tc
from tests.conftest import REPO
from tests.train import functions
from tests.train.runs import checkpoints, fit

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

STEPS = 6
ALONE = slice(2, 4)  # the steps that one worker did
DEADLINE_SECS = 240


class KillsTheController(ray.train.UserCallback):
    """Ends the process it is in, when the fourth step is reported."""

    def after_report(self, run_context, metrics, checkpoint):
        if metrics[0]["step"] == 3:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def run(tmp_path_factory, ray_session):
    """The run's result, and what the last driver's callback did."""
    folder = tmp_path_factory.mktemp("killed")
    _kill_a_driver(folder, ray_session.get_runtime_context().gcs_address)
    with pytest.raises(ray.exceptions.RayActorError):
        _go_on(folder, 1, _looks_after(), KillsTheController())
    _free_what_is_held()
    callback = _looks_after()
    result = _go_on(folder, 2, callback, strict="warn")
    return SimpleNamespace(result=result, outcomes=callback.wait(result))


def _kill_a_driver(folder, address):
    command = [sys.executable, "-m", "tests.train.driver", str(folder)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "RAY_ADDRESS": address}
    driver = subprocess.Popen(command, cwd=REPO, env=environment, **quiet)
    deadline = time.monotonic() + DEADLINE_SECS
    run = folder / "run"
    while functions.registered(run) < 2 or not [*run.glob("msgpack/checkpoint_*")]:
        assert driver.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.kill()  # Ray sees to its controller and workers
    driver.wait()


def _looks_after():
    return tc.TrainCheckpointCallback("all", verify=True)


def _go_on(folder, workers, *callbacks, **config):
    """Call fit again, saving in the background where this Ray can."""
    modes = getattr(ray.train, "CheckpointUploadMode", None)
    options = {"format": "pickle", **({"checkpoint_upload_mode": modes.ASYNC} if modes else {})}
    return fit(folder, workers, callbacks=[*callbacks], steps=STEPS, options=options, **config)


def _free_what_is_held():
    """Ray starts a killed controller again, which does nothing, but its workers' CPUs stay its."""
    from ray._raylet import PlacementGroupID
    from ray.util import placement_group_table, remove_placement_group
    from ray.util.placement_group import PlacementGroup

    for name, facts in placement_group_table().items():
        if facts["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        time.sleep(0.1)


def test_each_goes_on_from_the_newest_checkpoint_of_the_one_before(run):
    assert run.result.error is None
    starts = [metrics["started_at"] for _, metrics in run.result.best_checkpoints]
    assert starts == [0, 0, 2, 2, 4, 4]


def test_the_metrics_are_those_of_a_run_that_nobody_killed(run):
    reported = [metrics["at"] for _, metrics in run.result.best_checkpoints]
    expected = [float(functions.expected(steps)[0].sum()) for steps in range(1, STEPS + 1)]
    assert reported == expected


def test_one_worker_takes_what_is_its_own_of_what_two_saved(run):
    state = tc.load_state(checkpoints(run.result)[3], allow_pickle=True)
    assert {name for name in state if name.startswith("noise")} == {"noise_0"}
    assert state["noise_0"]["w"].tolist() == functions.expected(4)[1][0].tolist()


def test_a_second_worker_begins_its_own_anew_after_one_that_was_alone(run):
    state = tc.load_state(checkpoints(run.result)[-1], allow_pickle=True)
    assert state["noise_0"]["w"].tolist() == functions.expected(STEPS)[1][0].tolist()
    noise = np.zeros(2)
    for step in range(4, STEPS):
        noise = noise * 2 + step + 1
    assert state["noise_1"]["w"].tolist() == noise.tolist()


def test_a_background_save_is_of_the_moment_of_its_report(run):
    for steps, path in enumerate(checkpoints(run.result), start=1):
        assert tc.verify(path).ok
        weights, _ = functions.expected(steps)
        state = tc.load_state(path, "weights", allow_pickle=True)
        assert np.array_equal(state["w"], weights)


def test_what_the_killed_ones_callbacks_left_is_done_by_the_last_one(run):
    for path in checkpoints(run.result):
        assert tc.verify(path.parent / "msgpack" / path.name).ok
    report = json.loads(Path(run.result.path, "tune_ckpt_report.json").read_text())
    assert not report["summary"]["causes"]
    assert report["outcomes"] == [vars(outcome) for outcome in run.outcomes]
    done = {(o.action, o.checkpoint) for o in run.outcomes if o.status == "done"}
    assert {("verify", str(path)) for path in checkpoints(run.result)} <= done
    left = [path for path in Path(run.result.path).rglob("*") if ".tune_ckpt-" in path.name]
    assert not left


def test_the_same_function_saves_the_same_in_a_tune_trial(run, tmp_path):
    run_config = tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0)
    space = {"options": {"format": "pickle"}}
    (result,) = tune.Tuner(functions.walk, param_space=space, run_config=run_config).fit()
    found = [tc.describe(checkpoint).digest for checkpoint, _ in result.best_checkpoints]
    assert len(found) == functions.STEPS
    assert found[ALONE] == [tc.describe(path).digest for path in checkpoints(run.result)[ALONE]]
