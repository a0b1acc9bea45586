"""Train workers: one checkpoint of all of them, straight to storage, and on after a kill."""

import json
import os
import signal
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import ray.train
from ray import tune
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

import tune_ckpt as tc
from tests.train import functions

pytestmark = [
    pytest.mark.slow,
    # Ray Data, which Ray Train loads, warns of options of its own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data"),
]


FASTER = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1"}  # how often reports are looked for


def fit(tmp_path, workers=1, failures=0, function=functions.walk, callbacks=None, **config):
    # What a TorchTrainer is, but that no process imports torch: most of the time went into that.
    trainer = DataParallelTrainer(
        function,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=workers),
        run_config=ray.train.RunConfig(
            name="run",
            storage_path=str(tmp_path),
            failure_config=ray.train.FailureConfig(max_failures=failures),
            callbacks=callbacks,
        ),
    )
    with mock.patch.dict(os.environ, FASTER):
        return trainer.fit()


@pytest.fixture(scope="module")
def two(tmp_path_factory, ray_session):
    """Two workers, of which the second one is killed once, and then the first one gets SIGTERM."""
    markers = tmp_path_factory.mktemp("markers")
    die_at = {(1, 2): signal.SIGKILL, (0, 3): signal.SIGTERM}
    result = fit(markers / "two", workers=2, failures=2, die_at=die_at, markers=str(markers))
    assert {path.name for path in markers.glob("*-*")} == {"1-2", "0-3"}
    return result


def checkpoints(result):
    found = [checkpoint for checkpoint, _ in result.best_checkpoints]
    return [Path(checkpoint.path) for checkpoint in found]


def test_two_workers_make_one_whole_checkpoint(two):
    last = checkpoints(two)[-1]
    assert tc.verify(last).ok
    state = tc.load_state(last)
    weights, noise = functions.expected(functions.STEPS)
    assert state["step"] == 4
    assert (state["seen_0"], state["seen_1"]) == (3, 3)
    assert state["weights"]["w"].tolist() == weights.tolist()
    assert state["noise_0"]["w"].tolist() == noise[0].tolist()
    assert state["noise_1"]["w"].tolist() == noise[1].tolist()


def test_the_digest_is_that_of_one_worker_saving_all_of_it(two, tmp_path):
    last = checkpoints(two)[-1]
    weights, noise = functions.expected(functions.STEPS)
    parts = {"weights": weights, "noise_0": noise[0], "noise_1": noise[1]}
    objects = {name: functions.Weights(len(value)) for name, value in parts.items()}
    for name, value in parts.items():
        objects[name].w = value
    saved = tc.save({**objects, "step": 4, "seen_0": 3, "seen_1": 3}, tmp_path / "c")
    assert tc.describe(last).digest == saved.digest


def test_after_a_kill_or_sigterm_all_go_on_from_the_last_checkpoint(two):
    assert two.error is None
    starts = [metrics["started_at"] for _, metrics in two.best_checkpoints]
    assert starts == [0, 0, 2, 3]
    assert two.metrics["at"] == float(functions.expected(functions.STEPS)[0].sum())


def test_metrics_run_and_iteration_are_in_the_metadata(two):
    for iteration, path in enumerate(checkpoints(two), start=1):
        metadata = json.loads((path / "metadata.json").read_text())
        assert metadata["trial"] == {"id": None, "name": "run", "iteration": iteration}
        assert metadata["metrics"]["at"] == float(functions.expected(iteration)[0].sum())


class KillsTheController(ray.train.UserCallback):
    """Ends the process it is in at the second report of the run, once."""

    def __init__(self, marker):
        self.marker = marker

    def after_report(self, run_context, metrics, checkpoint):
        if metrics[0]["step"] == 1 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def killed(tmp_path_factory, ray_session):
    """One worker, which saves in the background; its controller is killed, and fit called again.

    Returns what came of it, and what the second call's callback did.
    """
    modes = getattr(ray.train, "CheckpointUploadMode", None)
    if modes is None:
        pytest.skip("this Ray uploads while training waits")
    folder = tmp_path_factory.mktemp("alone")
    marker = folder / "killed"

    def run():
        callback = tc.TrainCheckpointCallback("all", verify=True)
        options = {"checkpoint_upload_mode": modes.ASYNC, "format": "pickle"}
        callbacks = [callback, KillsTheController(marker)]
        return fit(folder, callbacks=callbacks, options=options), callback

    with pytest.raises(ray.exceptions.RayActorError):
        run()
    _free_what_is_held()
    result, callback = run()
    return result, callback.wait(result)


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


@pytest.fixture
def alone(killed):
    return killed[0]


def test_after_a_controllers_kill_the_same_name_goes_on_from_the_newest_checkpoint(alone):
    assert alone.error is None
    starts = [metrics["started_at"] for _, metrics in alone.best_checkpoints]
    assert starts == [0, 0, 2, 2]
    assert alone.metrics["at"] == float(functions.expected(functions.STEPS)[0].sum())


def test_what_the_killed_controllers_callback_left_is_done_by_the_next_one(killed):
    result, outcomes = killed
    for path in checkpoints(result):
        assert tc.verify(path.parent / "msgpack" / path.name).ok
    done = {(o.action, o.checkpoint) for o in outcomes if o.status == "done"}
    assert {("verify", str(path)) for path in checkpoints(result)} <= done


def test_a_background_save_is_of_the_moment_of_its_report(alone):
    assert len(checkpoints(alone)) == functions.STEPS
    for iteration, path in enumerate(checkpoints(alone), start=1):
        assert tc.verify(path).ok
        weights, _ = functions.expected(iteration)
        state = tc.load_state(path, "weights", allow_pickle=True)
        assert np.array_equal(state["w"], weights)


def test_the_same_function_saves_the_same_in_a_tune_trial(alone, tmp_path):
    run_config = tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0)
    space = {"options": {"format": "pickle"}}
    (result,) = tune.Tuner(functions.walk, param_space=space, run_config=run_config).fit()
    found = [tc.describe(checkpoint).digest for checkpoint, _ in result.best_checkpoints]
    assert found == [tc.describe(path).digest for path in checkpoints(alone)]
    assert len(found) == functions.STEPS
