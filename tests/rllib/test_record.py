"""RLlib's own checkpoints as records of a sweep: exported, and otherwise told whom to ask."""

import json
import shutil

import numpy as np
import pytest

import tune_ckpt as tc
from tests.rllib.cases import one
from tune_ckpt.errors import ClassNotFoundError, NotACheckpointError
from tune_ckpt.rllib import get_checkpoint_info, load_bundle, load_weights


@pytest.fixture
def best(tmp_path):
    trial = tmp_path / "sweep" / "PPO_aaaaa_00000_0_2026-01-01_00-00-00"
    source = one("ray2.60.0-py3.11-new-ppo-single-meanstd").path
    shutil.copytree(source, trial / "checkpoint_000000")
    facts = {"trial_id": "aaaaa_00000", "checkpoint_dir_name": "checkpoint_000000"}
    result = {**facts, "training_iteration": 1, "score": 0.5}
    (trial / "result.json").write_text(json.dumps(result) + "\n")
    return tc.best_checkpoint(tmp_path / "sweep", "score")


def test_it_is_exported_as_msgpack_that_rllib_reads(best, tmp_path):
    made = best.export(tmp_path / "served")
    assert get_checkpoint_info(made)["format"] == "msgpack"
    np.testing.assert_equal(load_weights(made), load_weights(best))


def test_whoever_takes_it_for_ours_is_told_what_to_call(best):
    with pytest.raises(NotACheckpointError, match="load_weights"):
        best.load()
    with pytest.raises(ClassNotFoundError, match="restore_algorithm"):
        best.restore()


def test_the_folders_are_named_where_the_one_above_is_given():
    with pytest.raises(NotACheckpointError, match="the folders in it: checkpoint"):
        load_weights(one("ray2.10.0").folder)


def test_whoever_takes_it_for_a_bundle_is_told_how_one_is_made():
    with pytest.raises(NotACheckpointError, match=r"export_bundle\(\) makes what load_bundle"):
        load_bundle(one("ray2.10.0").path)


def test_of_an_algorithm_with_resources_the_error_tells_what_restores_it():
    error = ClassNotFoundError("sweep/checkpoint_000001", "ray.tune.trainable.util:PPO", "unknown")
    assert "PPO.from_checkpoint(path)" in str(error)
    assert "restore_algorithm()" in str(error)
    assert "trusted" not in str(error)
