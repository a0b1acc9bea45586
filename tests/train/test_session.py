"""Train workers: one checkpoint of all of them, straight to storage, and on after a kill."""

import json
import signal

import pytest
from ray.train.torch import TorchTrainer
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

import tune_ckpt as tc
from tests.train import functions
from tests.train.runs import checkpoints, fit

pytestmark = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=[DataParallelTrainer, pytest.param(TorchTrainer, marks=pytest.mark.nightly)],
)
def two(request, tmp_path_factory, ray_session):
    """Two workers, of which in one step the first one gets SIGTERM and the second one is killed."""
    markers = tmp_path_factory.mktemp("markers")
    die_at = {(0, 2): signal.SIGTERM, (1, 2): signal.SIGKILL}
    result = fit(
        markers / "two",
        workers=2,
        failures=2,  # the one that goes later may go after the new beginning
        trainer=request.param,
        die_at=die_at,
        markers=str(markers),
    )
    assert {path.name for path in markers.glob("*-*")} == {"0-2", "1-2"}
    return result


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


def test_after_a_kill_and_sigterm_all_go_on_from_the_last_checkpoint(two):
    assert two.error is None
    starts = [metrics["started_at"] for _, metrics in two.best_checkpoints]
    assert starts == [0, 0, 2, 2]
    assert two.metrics["at"] == float(functions.expected(functions.STEPS)[0].sum())


def test_metrics_run_and_iteration_are_in_the_metadata(two):
    for iteration, path in enumerate(checkpoints(two), start=1):
        metadata = json.loads((path / "metadata.json").read_text())
        assert metadata["trial"] == {"id": None, "name": "run", "iteration": iteration}
        assert metadata["metrics"]["at"] == float(functions.expected(iteration)[0].sum())
