"""What a sweep's files tell without being unpickled, and how its trials go on by that."""

import json
import os
import shutil
from pathlib import Path

import pytest
from ray import tune

import tune_ckpt as tc
from tune_ckpt.errors import StorageError
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tune.resuming.past import PastTrial
from tune_ckpt.tune.resuming.plain import Plain

KILLED = Path(__file__).parents[1] / "data/tune/killed-ray2.48.0-class"  # in its second trial


class T(tune.Trainable):
    """Of the same name as what the sweep ran."""


def _state(folder):
    (file,) = folder.glob("experiment_state-*.json")
    return file, json.loads(file.read_text())


def _resumed(tmp_path, change=lambda trial: None):
    folder = tmp_path / "run"
    shutil.copytree(KILLED, folder)
    file, state = _state(folder)
    for entry in state["trial_data"]:
        facts = json.loads(entry[0])
        change(facts)
        entry[0] = json.dumps(facts)
    file.write_text(json.dumps(state))
    return tc.resume(folder, T, portable=True)


def test_a_class_of_an_older_ray_goes_on_where_only_the_experiment_state_tells(tmp_path):
    trials = _resumed(tmp_path).report.trials
    assert [(t.status, t.iteration) for t in trials] == [("finished", None), ("continues", 3)]


def test_what_tune_noted_as_finished_stays_so_though_no_result_says_it(tmp_path):
    def stopped_early(facts):
        facts.update(status="TERMINATED", stopping_criterion={"training_iteration": 99})

    trials = _resumed(tmp_path, stopped_early).report.trials
    assert [t.status for t in trials] == ["finished", "finished"]


@pytest.mark.parametrize(
    "criterion", ["x", {"training_iteration": "x"}, {"training_iteration": []}]
)
def test_a_damaged_stop_criterion_does_no_harm(tmp_path, criterion):
    def damaged(facts):
        facts["stopping_criterion"] = criterion

    assert len(_resumed(tmp_path, damaged).report.trials) == 2


@pytest.mark.parametrize(
    "trial_data",
    [5, None, {"a": 1}, [5, None, [], [1], "x", ["[]"]], [['{"relative_logdir": {}}', "{}"]]],
)
def test_damaged_entries_tell_nothing(tmp_path, trial_data):
    plain = Plain.read(open_store(tmp_path), {"trial_data": trial_data})
    assert (plain.facts, plain.pairs) == ({}, {})


@pytest.mark.parametrize("iteration", ["1", None, [], {}])
def test_a_checkpoint_without_a_number_as_its_iteration_is_not_known(tmp_path, iteration):
    line = {"training_iteration": iteration, "checkpoint_dir_name": "checkpoint_000000"}
    (tmp_path / "result.json").write_text(json.dumps(line) + "\n")
    past = PastTrial("trial", open_store(tmp_path))
    assert past.metrics_of("checkpoint_000000") is None
    recorded = {"training_iteration": 2, "loss": 0.5}
    assert past.metrics_of("checkpoint_000000", recorded) == recorded


def test_results_that_may_not_be_read_are_not_taken_for_none(tmp_path, monkeypatch):
    (tmp_path / "result.json").write_text("{}\n")
    past, opened = PastTrial("trial", open_store(tmp_path)), os.open

    def refused(path, *args, **options):
        if str(path).endswith("result.json"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    monkeypatch.setattr("os.open", refused)
    with pytest.raises(StorageError, match="Permission denied"):
        past.results  # noqa: B018
    (tmp_path / "result.json").unlink()
    assert past.results == []
