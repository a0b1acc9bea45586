"""The callback: conversions beside the originals, and nothing that a sweep could feel."""

import json
import logging
import pickle
from pathlib import Path

import pytest
from ray import tune

import tune_ckpt as tc
from tests.tune.trainables import MsgpackWalker, Walker
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.tune import beside
from tune_ckpt.tune.tasks import TaskQueue

SCORES = {0: 0.1, 1: 0.9, 2: 0.3, 3: 0.2}  # by the iteration before the step


def _sweep(tmp_path, callback, cls=Walker, keep=None, trials=1, scores=SCORES):
    run_config = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        verbose=0,
        stop={"training_iteration": 4},
        callbacks=[callback],
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=keep),
    )
    space = {"scores": scores, "seed": tune.grid_search(list(range(trials)))}
    return tune.Tuner(cls, param_space=space, run_config=run_config).fit()


def _originals(result):
    return sorted(Path(result.path).glob("checkpoint_*"))


def _converted(result):
    return sorted(Path(result.path).glob("msgpack/checkpoint_*"))


def _report(results):
    return json.loads((Path(results.experiment_path) / "tune_ckpt_report.json").read_text())


def test_all_converts_every_checkpoint_beside_its_original(tmp_path, ray_session):
    results = _sweep(tmp_path, tc.CheckpointCallback("all"), trials=2)
    for result in results:
        assert result.error is None
        assert [p.name for p in _converted(result)] == [p.name for p in _originals(result)]
        for original, copy in zip(_originals(result), _converted(result), strict=True):
            assert (original / "state.pkl").exists()
            assert not [p for p in copy.rglob("*") if p.suffix == ".pkl"]
            assert tc.verify(copy).ok
            one, other = Walker.from_checkpoint(original), Walker.from_checkpoint(copy)
            assert one.train()["walk"] == other.train()["walk"]
    assert [row["status"] for row in _report(results)] == ["converted"] * 8


def test_best_keeps_one_copy_in_the_whole_sweep(tmp_path, ray_session):
    callback = tc.CheckpointCallback("best", metric="score", mode="max")
    results = _sweep(tmp_path, callback, trials=2)
    copies = [copy for result in results for copy in _converted(result)]
    assert [copy.name for copy in copies] == ["checkpoint_000001"]
    best = tc.best_checkpoint(results, metric="score", mode="max")
    assert best.converted == str(copies[0])


def test_best_survives_that_tune_deletes_its_original(tmp_path, ray_session):
    callback = tc.CheckpointCallback("best", metric="walk/at", mode="min")
    results = _sweep(tmp_path, callback, cls=Descending, keep=1)
    (copy,) = _converted(results[0])
    assert copy.name == "checkpoint_000001"
    assert not (Path(results[0].path) / copy.name).exists()
    assert tc.verify(copy).ok


class Descending(Walker):
    """Its lowest value comes second."""

    def step(self):
        result = super().step()
        result["walk"]["at"] = [3.0, 1.0, 2.0, 2.5][self.iteration]
        return result


def test_last_keeps_each_trials_last_checkpoint(tmp_path, ray_session):
    results = _sweep(tmp_path, tc.CheckpointCallback("last"), trials=2)
    for result in results:
        assert [p.name for p in _converted(result)] == ["checkpoint_000003"]


def test_with_few_checkpoints_kept_no_copy_outlives_its_original(tmp_path, ray_session):
    results = _sweep(tmp_path, tc.CheckpointCallback("all"), keep=1)
    assert [p.name for p in _converted(results[0])] == [p.name for p in _originals(results[0])]
    assert {row["status"] for row in _report(results)} <= {"converted", "skipped"}


def test_msgpack_checkpoints_are_left_alone(tmp_path, ray_session):
    results = _sweep(tmp_path, tc.CheckpointCallback("all"), cls=MsgpackWalker)
    assert not _converted(results[0])
    assert {row["detail"] for row in _report(results)} == {"it is msgpack already"}


class Unportable(Walker):
    """Its state pickles, but holds what msgpack refuses."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {**super().get_state(), "extra": {"helper": lambda: 0}}


def test_a_failed_conversion_is_reported_and_harms_nothing(tmp_path, ray_session, caplog):
    with caplog.at_level(logging.WARNING, "tune_ckpt"):
        results = _sweep(tmp_path, tc.CheckpointCallback("all"), cls=Unportable)
    assert results[0].error is None
    assert len(_originals(results[0])) == 4
    assert not _converted(results[0])
    failed = [row for row in _report(results) if row["status"] == "failed"]
    assert all("extra/helper" in row["detail"] for row in failed)
    assert "was not converted or deleted" in caplog.text


def _boom(*args, **kwargs):
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    "hook", ["_running", "_improves", "_add_what_is_missing", "_drain", "_report"]
)
def test_a_callback_that_fails_everywhere_changes_no_result(tmp_path, ray_session, hook):
    callback = _Failing("best", metric="score", mode="max", failing=hook)
    results = _sweep(tmp_path, callback)
    assert results[0].error is None
    assert len(_originals(results[0])) == 4
    assert results[0].checkpoint.path.endswith("checkpoint_000003")


class _Failing(tc.CheckpointCallback):
    def __init__(self, *args, failing, **options):
        super().__init__(*args, **options)
        self.failing = failing

    def setup(self, **info):
        super().setup(**info)
        setattr(self, self.failing, _boom)


def test_a_rewritten_checkpoint_is_converted_again(tmp_path):
    walker = Walker({"seed": 1})
    walker.train()
    original = tmp_path / "checkpoint_000000"
    walker.save_to_path(original)
    assert [o.status for o in beside.convert_all(str(tmp_path))] == ["converted"]
    assert [o.status for o in beside.convert_all(str(tmp_path))] == ["up to date"]
    walker.train()
    walker.save_to_path(original)
    assert [o.status for o in beside.convert_all(str(tmp_path))] == ["converted"]
    copy = tmp_path / "msgpack" / "checkpoint_000000"
    assert Walker.from_checkpoint(copy).train()["training_iteration"] == 3


def test_other_checkpoints_than_component_trees_are_skipped(tmp_path):
    (tmp_path / "checkpoint_000000").mkdir()
    (tmp_path / "checkpoint_000000" / "model.bin").write_bytes(b"x")
    (outcome,) = beside.convert_all(str(tmp_path))
    assert (outcome.status, "no component tree" in outcome.detail) == ("skipped", True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"convert": "some"}, "never, best, last, all"),
        ({"convert": "best"}, "metric"),
        ({"convert": "best", "metric": "a", "mode": "most"}, "max, min"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options, told):
    with pytest.raises(InvalidArgumentError, match=told):
        tc.CheckpointCallback(**options)


def test_the_callback_can_be_pickled_and_takes_its_state_over():
    callback = tc.CheckpointCallback("best", metric="score")
    callback._best = (0.5, "trial/checkpoint_000001")
    callback.outcomes.append(beside.Outcome("a", "converted", "b", 0.1))
    other = pickle.loads(pickle.dumps(tc.CheckpointCallback("best", metric="score")))
    other.set_state(callback.get_state())
    assert (other._best, other.outcomes) == (callback._best, callback.outcomes)


def _append(path, text):
    with open(path, "a") as file:
        file.write(text)
    return text


def test_the_queue_keeps_the_order_of_one_key_and_its_limit(tmp_path, ray_session):
    queue = TaskQueue(2, lambda key, reason: f"lost {key}")
    for number in range(6):
        queue.add(str(number % 2), _append, str(tmp_path / str(number % 2)), str(number))
    results = list(queue.drain(60))
    assert sorted(results) == list("012345")
    assert (tmp_path / "0").read_text() == "024"
    assert (tmp_path / "1").read_text() == "135"


def test_the_queue_says_which_job_was_lost(ray_session):
    queue = TaskQueue(1, lambda key, reason: f"lost {key}")
    queue.add("a", _die)
    queue.add("b", _append, "/dev/null", "done")
    assert sorted(queue.drain(60)) == ["done", "lost a"]


def _die():
    import os

    os._exit(1)


def test_what_is_private_in_ray_is_as_we_know_it(tmp_path, ray_session):
    seen = []

    class Look(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            from tune_ckpt.tune.private import experiment_folder, trial_folder

            seen.extend([trial_folder(trial), experiment_folder(trial)])

    results = _sweep(tmp_path, Look())
    assert seen == [(results[0].path, None), (results.experiment_path, None)]
