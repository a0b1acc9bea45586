"""The callback: conversions beside the originals, and nothing that a sweep could feel."""

import json
import logging
import os
import pickle
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray import tune

import tune_ckpt as tc
from tests.tune.sweeps import checkpoints, sweep
from tests.tune.trainables import MsgpackWalker, Walker
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.tune import beside, private
from tune_ckpt.tune.completion import last_jobs
from tune_ckpt.tune.jobs import tidy, verify_one
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.private import experiment_folder, trial_folder
from tune_ckpt.tune.resuming.snapshot import Snapshot
from tune_ckpt.tune.source import MOST_SNAPSHOTS, Owner, Source
from tune_ckpt.tune.work import Work


def _converted(result):
    return sorted(Path(result.path).glob("msgpack/checkpoint_*"))


def _report(results):
    path = Path(results.experiment_path) / "tune_ckpt_report.json"
    return json.loads(path.read_text())["outcomes"]


def test_all_converts_every_checkpoint_beside_its_original(tmp_path, ray_session):
    results = sweep(tmp_path, tc.CheckpointCallback("all"))
    (result,) = results
    assert result.error is None
    assert [p.name for p in _converted(result)] == [p.name for p in checkpoints(result)]
    for original, copy in zip(checkpoints(result), _converted(result), strict=True):
        assert (original / "state.pkl").exists()
        assert not [p for p in copy.rglob("*") if p.suffix == ".pkl"]
        assert tc.verify(copy).ok
        one, other = Walker.from_checkpoint(original), Walker.from_checkpoint(copy)
        assert one.train()["walk"] == other.train()["walk"]
    assert [row["status"] for row in _report(results)] == ["done"] * 4


def test_where_jobs_lag_far_behind_what_tune_deletes_does_not_fill_the_disk(tmp_path):
    tc.save({"step": 1}, tmp_path / "checkpoint_000000")
    source = Source(str(tmp_path / "checkpoint_000000"))
    kept = [source.kept_for("verify", Owner()) for _ in range(MOST_SNAPSHOTS + 2)]
    assert [one.snapshot is None for one in kept] == [False] * MOST_SNAPSHOTS + [True] * 2
    assert source.kept_for("convert", Owner()).snapshot  # another kind of job
    with kept[0].used():
        pass
    assert source.kept_for("verify", Owner()).snapshot


def test_storage_that_fails_is_told_of_with_the_checkpoint_and_what_was_to_be_done(tmp_path):
    path = str(tmp_path / "checkpoint_000000")
    (outcome,) = verify_one(Source(path, PyFileSystem(FSSpecHandler(Down()))))
    assert (outcome.checkpoint, outcome.action, outcome.status) == (path, "verify", "failed")
    assert "Input/output error" in outcome.detail


class Down(LocalFileSystem):
    """It refuses everything."""

    def info(self, path, **options):
        raise OSError(5, "Input/output error", path)

    isdir = ls = open = info


class Looking(tune.Callback):
    """Notes where Ray keeps the files."""

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.seen = [trial_folder(trial), experiment_folder(trial)]


@pytest.fixture(scope="module")
def two(tmp_path_factory, ray_session):
    """A sweep of which one checkpoint is kept, with two callbacks of ours; its results, and all."""
    callbacks = tc.CheckpointCallback("all"), tc.CheckpointCallback(verify=True), Looking()
    return sweep(tmp_path_factory.mktemp("two"), *callbacks, keep=1), callbacks


def test_what_is_private_in_ray_is_as_we_know_it(two):
    results, (*_, looking) = two
    assert looking.seen == [(results[0].path, None), (results.experiment_path, None)]


def test_with_few_checkpoints_kept_no_copy_outlives_its_original(two):
    results, (callback, *_) = two
    assert [p.name for p in _converted(results[0])] == [p.name for p in checkpoints(results[0])]
    assert {outcome.status for outcome in callback.outcomes} <= {"done", "skipped"}


def test_two_callbacks_keep_one_scheduler(two):
    results, _ = two
    (file,) = Path(results.experiment_path).glob("callback-states-*.pkl")
    states = pickle.loads(file.read_bytes()).values()
    packed = [state["scheduler"] for state in states if state and "scheduler" in state]
    kept = [Snapshot.unpack(each, [], results.experiment_path, None).cls for each in packed]
    assert kept == ["ray.tune.schedulers.trial_scheduler:FIFOScheduler"] * 2


def test_two_callbacks_do_not_take_from_each_other_what_tune_deleted(two):
    results, (_, callback, _) = two
    assert [(o.action, o.status) for o in callback.outcomes] == [("verify", "done")] * 4
    assert not [p for p in Path(results[0].path).rglob("*") if ".tune_ckpt-" in p.name]


def test_the_end_of_one_callback_leaves_what_another_one_still_needs(tmp_path):
    checkpoint = tmp_path / "checkpoint_000000"
    tc.save({"step": 1}, checkpoint)
    owners = [Owner(since=checkpoint.stat().st_mtime) for _ in range(3)]
    killed, one, other = (Source(str(checkpoint)).kept_for("verify", owner) for owner in owners)
    os.utime(killed.snapshot, (0, 0))
    shutil.rmtree(checkpoint)
    assert one.snapshot  # its job is lost
    tidy([str(tmp_path)], owners[1])
    assert os.listdir(tmp_path / "msgpack") == [os.path.basename(other.snapshot)]
    assert [outcome.status for outcome in verify_one(other)] == ["done"]


def test_msgpack_checkpoints_are_left_alone(tmp_path):
    MsgpackWalker({"seed": 1}).save_to_path(tmp_path / "checkpoint_000000", use_msgpack=True)
    (outcome,) = beside.convert_all(str(tmp_path))
    assert (outcome.status, outcome.detail) == ("skipped", "it is msgpack already")
    assert not (tmp_path / "msgpack").exists()


class Unportable(Walker):
    """Its state pickles, but holds what msgpack refuses."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {**super().get_state(), "extra": {"helper": lambda: 0}}


def test_what_msgpack_refuses_is_told_and_leaves_nothing(tmp_path):
    Unportable({"seed": 1}).save_to_path(tmp_path / "checkpoint_000000")
    (outcome,) = beside.convert_all(str(tmp_path))
    assert (outcome.status, outcome.cause) == ("failed", "UnsupportedStateError")
    assert "extra/helper" in outcome.detail
    assert [path.name for path in tmp_path.rglob("checkpoint_*")] == ["checkpoint_000000"]


def test_the_last_checkpoint_of_a_trial_is_its_own_not_one_that_it_took_over():
    def trial(name, latest, *kept):
        results = [SimpleNamespace(checkpoint=SimpleNamespace(path=p), metrics={}) for p in kept]
        manager = SimpleNamespace(
            _checkpoint_results=results,
            _latest_checkpoint_result=SimpleNamespace(
                checkpoint=SimpleNamespace(path=latest), metrics={}
            ),
        )
        local = SimpleNamespace(type_name="local")
        return SimpleNamespace(
            trial_id=name,
            storage=SimpleNamespace(trial_fs_path=f"/run/{name}", storage_filesystem=local),
            run_metadata=SimpleNamespace(checkpoint_manager=manager),
        )

    donor = trial("a", "/run/a/checkpoint_000003", "/run/a/checkpoint_000001")
    heir = trial("b", "/run/a/checkpoint_000001", "/run/b/checkpoint_000000")
    fresh = trial("c", "/run/a/checkpoint_000001")
    sources = [job[2].path for each in (donor, heir, fresh) for job in last_jobs(each)]
    assert sources == ["/run/a/checkpoint_000003", "/run/b/checkpoint_000000"]


HOOKS = {
    *(
        "_contradiction",
        "_set_up",
        "on_trial_start",
        "on_checkpoint",
        "on_trial_complete",
        "on_step_end",
    ),
    *("on_experiment_end", "get_state", "set_state", "_refusal"),
}


class Panic(BaseException):
    """As Rust's panics come to Python."""


class Failing(tc.CheckpointCallback):
    """All of its hooks fail, at the first thing that they use."""

    def __init__(self, kind):
        super().__init__("last", metric="score", verify=True, pin_best=True)
        self.kind = kind

    def __getattribute__(self, name):
        caller = sys._getframe(1)
        is_ours = caller.f_globals["__name__"] == "tune_ckpt.tune.callback"
        if is_ours and caller.f_code.co_name in HOOKS:
            raise super().__getattribute__("kind")("planned for a hook")
        return super().__getattribute__(name)


class FailingJobs(tc.CheckpointCallback):
    """All of its jobs fail."""

    def setup(self, *args, **info):
        super().setup(*args, **info)
        self._work.add = lambda key, job, *args: Work.add(self._work, key, _fail)


def _fail(*args):
    raise Panic("planned for a job")


def test_callbacks_that_fail_change_no_result(tmp_path, ray_session, caplog):
    results = sweep(tmp_path, Failing(Panic), FailingJobs(verify=True))
    assert results[0].error is None
    assert len(checkpoints(results[0])) == 4
    assert results[0].checkpoint.path.endswith("checkpoint_000003")
    assert len(results[0].metrics_dataframe) == 4
    assert "planned for a hook" in caplog.text
    assert "planned for a job" in caplog.text


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (("best", "score"), ("all", None), False),
        (("best", "score"), ("best", "loss"), False),
        (("best", "score"), ("never", "loss"), True),
        (("all", None), ("at end", "loss"), True),
    ],
)
def test_callbacks_that_would_delete_each_others_conversions_are_refused(
    monkeypatch, one, other, agree
):
    callbacks = [tc.CheckpointCallback(convert, metric=metric) for convert, metric in (one, other)]
    sweep = SimpleNamespace(
        resumed=False,
        _callbacks=SimpleNamespace(_callbacks=[tune.Callback(), *callbacks]),
        _scheduler_alg=None,
        _trials=[],
    )
    monkeypatch.setattr(private, "controller", lambda: sweep)
    with nullcontext() if agree else pytest.raises(InvalidArgumentError, match="the same"):
        callbacks[1].setup()


def test_who_ends_the_program_is_not_held_up():
    for kind in (KeyboardInterrupt, SystemExit):
        with pytest.raises(kind):
            Failing(kind).on_step_end(1, [])


def test_one_callback_may_serve_two_sweeps(tmp_path, ray_session):
    callback = tc.CheckpointCallback("best", metric="score")
    first, second = (sweep(tmp_path / name, callback) for name in ("first", "second"))
    for results in (first, second):
        (copy,) = _converted(results[0])
        assert copy.name == "checkpoint_000001"
        assert tc.best_checkpoint(results, "score", "max").converted == str(copy)
        assert all(results.experiment_path in row["checkpoint"] for row in _report(results))
    assert all(second.experiment_path in outcome.checkpoint for outcome in callback.outcomes)


def test_a_rewritten_checkpoint_is_converted_again(tmp_path):
    walker = Walker({"seed": 1})
    walker.train()
    original = tmp_path / "checkpoint_000000"
    walker.save_to_path(original)
    assert [o.status for o in beside.convert_all(str(tmp_path))] == ["done"]
    assert [o.status for o in beside.convert_all(str(tmp_path))] == ["up to date"]
    walker.train()
    walker.save_to_path(original)
    assert [o.status for o in beside.convert_all(str(tmp_path))] == ["done"]
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
        ({"max_concurrent": 0}, "1 or more"),
        ({"max_concurrent": "2"}, "1 or more"),
        ({"retention": {"keep_last": 1}}, "Retention"),
        ({"metric": "a", "mode": "min", "retention": tc.Retention(metric="a")}, "mode='min'"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options, told):
    with pytest.raises(InvalidArgumentError, match=told):
        tc.CheckpointCallback(**options)


def test_at_end_converts_what_is_left(tmp_path, ray_session):
    results = sweep(tmp_path, tc.CheckpointCallback("at end"), keep=2)
    assert [p.name for p in _converted(results[0])] == [p.name for p in checkpoints(results[0])]
    assert {row["status"] for row in _report(results)} == {"done"}


class Damaging(Walker):
    """Its checkpoints lose a byte in storage."""

    def save(self, checkpoint_dir=None):
        saved = super().save(checkpoint_dir)
        path = Path(saved.checkpoint.path) / "state.pkl"
        path.write_bytes(path.read_bytes()[:-1])
        return saved


def test_damaged_checkpoints_are_found_while_the_sweep_runs_and_harm_nothing(
    tmp_path, ray_session, caplog
):
    with caplog.at_level(logging.WARNING, "tune_ckpt"):
        results = sweep(tmp_path, tc.CheckpointCallback("all", verify=True), cls=Damaging)
    assert results[0].error is None
    assert len(checkpoints(results[0])) == 4
    assert not _converted(results[0])
    rows = _report(results)
    assert {(row["action"], row["status"]) for row in rows} == {
        ("verify", "failed"),
        ("convert", "failed"),
    }
    assert len([row for row in rows if row["action"] == "verify"]) == 4
    assert all("state.pkl" in row["detail"] for row in rows)
    assert "state.pkl" in caplog.text


def test_the_environment_adds_a_callback_with_its_options(tmp_path, ray_session, monkeypatch):
    monkeypatch.setenv("RAY_TUNE_CALLBACKS", "tune_ckpt.EnvironmentCallback")
    monkeypatch.setenv("TUNE_CKPT_CALLBACK", '{"convert": "last"}')
    (result,) = sweep(tmp_path)
    assert [p.name for p in _converted(result)] == ["checkpoint_000003"]


def test_a_restored_sweep_gains_retention_by_the_environment(monkeypatch):
    monkeypatch.setenv("TUNE_CKPT_CALLBACK", '{"retention": {"keep_last": 2}, "verify": true}')
    callback = tc.EnvironmentCallback()
    assert (callback.retention, callback.verify) == (tc.Retention(keep_last=2), True)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        *('{"converted": "all"}', '{"convert": "some"}', '{"max_concurrent": "2"}'),
        *('{"retention": 2}', '{"retention": {"keep": 2}}', '{"retention": {"keep_last": -2}}'),
    ],
)
def test_wrong_options_in_the_environment_are_told(monkeypatch, text):
    monkeypatch.setenv("TUNE_CKPT_CALLBACK", text)
    with pytest.raises(InvalidArgumentError):
        tc.EnvironmentCallback()


def test_the_callback_can_be_pickled_and_takes_its_state_over():
    callback = tc.CheckpointCallback("best", metric="score")
    callback._best = 0.5
    callback.outcomes.append(Outcome("a", "convert", "done", "b"))
    other = pickle.loads(pickle.dumps(tc.CheckpointCallback("best", metric="score")))
    other.set_state(callback.get_state())
    assert (other._best, other.outcomes) == (callback._best, callback.outcomes)


def test_one_that_has_served_a_sweep_before_takes_over_only_what_belongs_to_its_own():
    callback = tc.CheckpointCallback("best", metric="score")
    callback.outcomes.append(Outcome("of the first sweep", "convert", "done"))
    callback.on_experiment_end([])
    restored = pickle.loads(pickle.dumps(callback))  # by the second one's Tuner
    assert restored.outcomes == []
    restored.set_state({"best": 0.5, "outcomes": [{**vars(Outcome("a", "verify", "done"))}]})
    restored.memory.packed = b"what resume has found"
    restored.setup()
    assert (restored._best, len(restored.outcomes)) == (0.5, 1)
    assert restored.memory.packed


def test_a_state_that_cannot_be_taken_over_harms_nothing(caplog):
    callback = tc.CheckpointCallback()
    callback.set_state({"of": "another version"})
    assert [outcome.status for outcome in callback.outcomes] == ["failed"]
    assert "set_state failed" in caplog.text
