"""The controller's callback, of a run on S3: beside it, and nothing that the run could feel."""

import json
import os

import pytest
from pyarrow.fs import FileSelector

import tune_ckpt as tc
from tests.train import functions
from tests.train.runs import checkpoints, fit
from tune_ckpt.tune.private import takes_upload_function

pytestmark = pytest.mark.slow

DAMAGED, CONVERTED = 2, 3


class FailsToLook(tc.TrainCheckpointCallback):
    def _jobs(self, *args):
        raise RuntimeError("boom")


class FailsToStart(tc.TrainCheckpointCallback):
    """In the controller, when it is unpickled there, and at every report."""

    def _converter(self):
        raise RuntimeError("boom")


class Dies(tc.TrainCheckpointCallback):
    """The process of its actor ends with the first job, however often it is done again."""

    def _jobs(self, source, metrics, config):
        if metrics == {"score": 0.1}:
            yield os._exit, (1,)


@pytest.fixture(scope="module")
def s3(s3_server):
    """A filesystem on S3."""
    return s3_server.filesystem()


@pytest.fixture(scope="module")
def run(s3, ray_session):
    """A run with callbacks, most of which fail; its result, and what came of them."""
    callbacks = [
        FailsToLook(verify=True),
        FailsToStart(verify=True),
        Dies(verify=True),
        tc.TrainCheckpointCallback("best", metric="score"),
        tc.TrainCheckpointCallback(verify=True),
    ]
    s3.create_dir("bucket")
    result = fit(
        "bucket/runs",
        filesystem=s3,
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
    assert [outcome.status for outcome in outcomes[2]] == ["failed"]


def _files(s3, path):
    """Return the names of all files below a folder."""
    found = s3.get_file_info(FileSelector(str(path), recursive=True))
    return [info.base_name for info in found if info.is_file]


def _json(s3, path):
    with s3.open_input_file(str(path)) as file:
        return json.load(file)


def test_the_best_checkpoint_is_converted_with_its_metrics(run, s3):
    result, outcomes = run
    best = checkpoints(result)[1]
    assert [outcome.checkpoint for outcome in outcomes[3]] == [
        str(c) for c in checkpoints(result)[:2]
    ]
    (copy,) = s3.get_file_info(FileSelector(f"{result.path}/msgpack"))
    assert copy.base_name == best.name
    assert tc.verify(copy.path, filesystem=s3).ok
    assert not [name for name in _files(s3, copy.path) if name.endswith(".pkl")]
    assert _json(s3, f"{copy.path}/metadata.json")["metrics"] == {"score": 0.9}
    assert tc.load_state(copy.path, filesystem=s3)["weights"]["w"].tolist() == [2.0] * 3


def test_a_damaged_checkpoint_is_told(run, s3):
    result, outcomes = run
    assert len(outcomes[4]) == functions.STEPS
    (outcome,) = [outcome for outcome in outcomes[4] if outcome.status != "done"]
    assert (outcome.status, outcome.checkpoint) == ("failed", str(checkpoints(result)[DAMAGED]))
    assert "state.pkl" in outcome.detail
    assert _json(s3, f"{result.path}/tune_ckpt_report.json")["outcomes"]


@pytest.mark.skipif(not takes_upload_function(), reason="this Ray does every upload itself")
def test_a_worker_can_convert_before_the_commit(run, s3):
    path = str(checkpoints(run[0])[CONVERTED])
    assert tc.verify(path, filesystem=s3).ok
    assert not [name for name in _files(s3, path) if name.endswith(".pkl")]
    assert tc.load_state(path, filesystem=s3)["step"] == CONVERTED
    assert _json(s3, f"{path}/metadata.json")["metrics"] == {"score": 0.2}
