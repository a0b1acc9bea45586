"""The controller's callback: beside the run, and nothing that the run could feel."""

import json
import os
from pathlib import Path

import pytest

import tune_ckpt as tc
from tests.train import functions
from tests.train.test_session import checkpoints, fit
from tune_ckpt.tune.private import takes_upload_function

pytestmark = [
    pytest.mark.slow,
    # Ray Data, which Ray Train loads, warns of options of its own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data"),
]

DAMAGED, CONVERTED = 2, 3


class FailsToLook(tc.TrainCheckpointCallback):
    def _jobs(self, *args):
        raise RuntimeError("boom")


class FailsToStart(tc.TrainCheckpointCallback):
    """In the controller, when it is unpickled there, and at every report."""

    def _converter(self):
        raise RuntimeError("boom")


class Dies(tc.TrainCheckpointCallback):
    """A process of its actor's ends with every job."""

    def _jobs(self, *args):
        yield os._exit, (1,)


@pytest.fixture(scope="module")
def run(tmp_path_factory, ray_session):
    """A run with callbacks, most of which fail; its result, and what came of them."""
    callbacks = [
        FailsToLook(verify=True),
        FailsToStart(verify=True),
        Dies(verify=True),
        tc.TrainCheckpointCallback("best", metric="score"),
        tc.TrainCheckpointCallback(verify=True),
    ]
    result = fit(
        tmp_path_factory.mktemp("run"),
        function=functions.save_their_own_way,
        callbacks=callbacks,
        damaged=DAMAGED,
        converted=CONVERTED,
    )
    return result, [
        [] if isinstance(callback, FailsToStart) else callback.wait(result)
        for callback in callbacks
    ]


def test_the_run_is_as_if_there_were_no_callbacks(run):
    result, outcomes = run
    assert result.error is None
    assert len(checkpoints(result)) == functions.STEPS
    assert len(outcomes[0]) == functions.STEPS  # what the hooks did not see to is done at the end
    assert [outcome.status for outcome in outcomes[2]] == ["failed"] * functions.STEPS


def test_the_best_checkpoint_is_converted_with_its_metrics(run):
    result, outcomes = run
    best = checkpoints(result)[1]
    assert [outcome.checkpoint for outcome in outcomes[3]] == [
        str(c) for c in checkpoints(result)[:2]
    ]
    (copy,) = Path(result.path, "msgpack").glob("checkpoint_*")
    assert copy.name == best.name
    assert tc.verify(copy).ok
    assert not list(copy.rglob("*.pkl"))
    assert json.loads((copy / "metadata.json").read_text())["metrics"] == {"score": 0.9}
    assert tc.load_state(copy)["weights"]["w"].tolist() == [2.0] * 3


def test_a_damaged_checkpoint_is_told(run):
    result, outcomes = run
    assert len(outcomes[4]) == functions.STEPS
    (outcome,) = [outcome for outcome in outcomes[4] if outcome.status != "done"]
    assert (outcome.status, outcome.checkpoint) == ("failed", str(checkpoints(result)[DAMAGED]))
    assert "state.pkl" in outcome.detail
    report = json.loads(Path(result.path, "tune_ckpt_report.json").read_text())
    assert report


@pytest.mark.skipif(not takes_upload_function(), reason="this Ray does every upload itself")
def test_a_worker_can_convert_before_the_commit(run):
    path = checkpoints(run[0])[CONVERTED]
    assert tc.verify(path).ok
    assert not list(path.rglob("*.pkl"))
    assert tc.load_state(path)["step"] == CONVERTED
    assert json.loads((path / "metadata.json").read_text())["metrics"] == {"score": 0.2}
