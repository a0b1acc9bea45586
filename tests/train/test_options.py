"""The Train callback's options, each with the actor that does the work; Ray Train is played."""

import inspect
import json
import math
import os
import pickle
import shutil
import signal
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from threading import Event, Semaphore
from types import SimpleNamespace

import pytest
import ray.train
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem

import tune_ckpt as tc
from tests.agents import Weights
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.train import callback as train_callback
from tune_ckpt.train import converter
from tune_ckpt.train.jobs import Wanted, complete
from tune_ckpt.tune.beside import convert_one
from tune_ckpt.tune.options import CheckpointOptions
from tune_ckpt.tune.source import Owner, Source

SCORES = [0.1, 0.9, float("nan"), 0.5]
NAMES = [f"checkpoint_2026-11-21_12-00-0{step}.000000" for step in range(len(SCORES))]
CONFIG = {"lr": 0.1, "layers": [8, 8]}
CONTEXT = SimpleNamespace(train_loop_config=CONFIG)


class Run:
    """A Train run's folder, to which checkpoints are written as by a user's own code."""

    def __init__(self, folder):
        self.folder = folder / "run"
        self.folder.mkdir()
        self.results = []
        for step in range(len(SCORES)):
            self.write(step)
        self.result = SimpleNamespace(path=str(self.folder), filesystem=None)

    def write(self, step):
        weights = Weights(3)
        weights.w = weights.w + step
        parts = {"weights": weights, "step": step}
        tc.save(parts, self.folder / NAMES[step], format="pickle")
        metrics = self.metrics(step)
        self.results.append({"checkpoint_dir_name": NAMES[step], "metrics": metrics})
        indices = [*range(len(self.results))]
        document = {"checkpoint_results": self.results, "checkpoint_report_indices": indices}
        (self.folder / "checkpoint_manager_snapshot.json").write_text(json.dumps(document))

    def metrics(self, step):
        return {"eval": {"score": SCORES[step]}, "step": step}

    def report(self, callback, step):
        """Do what Ray Train does, and leave the rest to the actor."""
        checkpoint = ray.train.Checkpoint(str(self.folder / NAMES[step]))
        callback.after_report(CONTEXT, [self.metrics(step), {}], checkpoint)

    def look_after(self, callback):
        """Do here what the actor would; return the outcomes."""
        found = []
        for step in range(len(SCORES)):
            source = Source(str(self.folder / NAMES[step]))
            jobs = [*callback._jobs(source, self.metrics(step), CONTEXT.train_loop_config)]
            found += [o for job, args in jobs for o in job(*args)]
        return found

    def converted(self):
        return [path.name for path in sorted(self.folder.glob("msgpack/*"))]


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def callback(convert="never", **options):
    return tc.TrainCheckpointCallback(convert, metric="eval/score", **options)


# ------------------------------------------------------------------------- what the jobs do

KEPT = {"never": [], "best": [1], "last": [3], "all": [0, 1, 2, 3], "at end": [0, 1, 2, 3]}


def check_conversions(run, steps):
    assert run.converted() == [NAMES[step] for step in steps]
    for step in steps:
        copy = run.folder / "msgpack" / NAMES[step]
        assert tc.verify(copy).ok
        assert not list(copy.rglob("*.pkl"))
        assert tc.load_state(copy)["step"] == step
        metrics = json.loads((copy / "metadata.json").read_text())["metrics"]
        assert metrics["step"] == step


@pytest.mark.parametrize("convert", KEPT)
def test_while_the_run_goes_on(run, convert):
    outcomes = run.look_after(callback(convert))
    assert {outcome.status for outcome in outcomes} <= {"done"}
    check_conversions(run, [] if convert == "at end" else KEPT[convert])


@pytest.mark.parametrize("convert", KEPT)
def test_at_the_end_what_is_missing_is_found_in_storage(run, convert):
    made = callback(convert)
    complete(str(run.folder), None, Wanted(made.convert, made.ranked_by, False, False, Owner()))
    check_conversions(run, KEPT[convert])


def test_metrics_that_were_not_written_before_a_kill_are_written_at_the_end(run):
    convert_one(Source(str(run.folder / NAMES[3])))
    complete(str(run.folder), None, Wanted("last", None, False, False, Owner()))
    check_conversions(run, [3])


def test_a_damaged_checkpoint_is_told(run):
    (run.folder / NAMES[2] / "state.pkl").write_bytes(b"damaged")
    outcomes = run.look_after(callback(verify=True))
    assert [outcome.status for outcome in outcomes] == ["done", "done", "failed", "done"]
    assert "state.pkl" in outcomes[2].detail


@pytest.mark.parametrize("convert", ["never", "best"])
def test_the_best_is_pinned(run, convert):
    run.look_after(callback(convert, pin_best=True))
    pinned = tc.pinned_checkpoint(run.folder)
    assert (pinned.value, pinned.metrics["step"], pinned.config) == (0.9, 1, CONFIG)
    assert pinned.iteration == 2  # the number of its report
    assert tc.load_state(pinned.path, allow_pickle=True)["step"] == 1
    assert tc.verify(pinned.path).ok
    assert any(Path(pinned.path).rglob("*.pkl")) == (convert == "never")


# ---------------------------------------------------------------------- the actor that does it


@pytest.fixture(scope="module")
def looked_after(tmp_path_factory, ray_session):
    """A run with every option; Ray Train deletes a checkpoint early, and the driver waits twice."""
    run = Run(tmp_path_factory.mktemp("actor"))
    (run.folder / NAMES[0] / "state.pkl").write_bytes(b"damaged")
    made = callback("all", verify=True, pin_best=True)
    for step in range(len(SCORES)):
        run.report(made, step)
        if step == 1:  # as Ray Train does after a later report
            made._later.flush(60)
            shutil.rmtree(run.folder / NAMES[1])
    with redirect_stdout(StringIO()) as printed:
        early = made.wait(timeout_secs=0.0)
        outcomes = made.wait(run.result)
    return run, early, outcomes, printed.getvalue()


def test_a_deleted_checkpoint_was_converted_verified_and_pinned(looked_after):
    run, _, outcomes, _ = looked_after
    path = str(run.folder / NAMES[1])
    done = {(o.action, o.status) for o in outcomes if o.checkpoint == path}
    assert done == {("verify", "done"), ("convert", "done"), ("pin", "done")}
    assert tc.pinned_checkpoint(run.folder).value == 0.9


def test_the_report_and_the_summary_tell_of_each(looked_after):
    run, _, outcomes, printed = looked_after
    report = json.loads((run.folder / "tune_ckpt_report.json").read_text())
    assert report["summary"]["counts"]["verify: done"] == 3
    assert report["summary"]["causes"].keys() == {"CorruptCheckpointError", "CorruptDataError"}
    assert len(report["outcomes"]) <= len(outcomes)
    assert "convert: done 3" in printed
    assert "became" in printed
    assert str(run.folder / "tune_ckpt_report.json") in printed


def test_time_that_is_up_is_told_and_the_work_goes_on(looked_after):
    run, early, outcomes, _ = looked_after
    assert early[-1].status == "failed"
    assert "in time (drain_timeout_secs)" in early[-1].detail
    assert not [outcome for outcome in outcomes if outcome.cause == "timeout"]
    assert {o.checkpoint for o in outcomes} >= {str(run.folder / name) for name in NAMES}


def test_what_was_not_verified_before_a_kill_is_verified_at_the_end(run):
    wanted = Wanted("never", None, True, False, Owner())
    outcomes = complete(str(run.folder), None, wanted, NAMES[:3])
    assert [(o.action, o.checkpoint) for o in outcomes] == [("verify", str(run.folder / NAMES[3]))]


def test_what_a_killed_actor_left_undone_is_done_at_the_end(run, ray_session):
    made = callback("all", verify=True)
    run.report(made, 0)
    made._later.flush(60)
    actor = ray.get_actor(made._name)
    os.kill(ray.get(actor.__ray_call__.remote(lambda self: os.getpid())), signal.SIGKILL)
    run.report(made, 1)
    outcomes = made.wait(run.result)
    check_conversions(run, KEPT["all"])
    verified = {o.checkpoint for o in outcomes if (o.action, o.status) == ("verify", "done")}
    assert verified == {str(run.folder / name) for name in NAMES}


def test_the_order_in_which_a_restarted_actor_answers_loses_nothing(run, monkeypatch):
    done, left = [], [0]

    def finish(of):
        left[0] = 1
        return 1

    def jobs_left(known, secs):
        if left[0]:  # the one that was queued
            done.append("complete")
            left[0] = 0
        return 0

    def call(function):
        return SimpleNamespace(remote=lambda *args: lambda: function(*args))

    def get(calls, timeout=None):
        return [one() for one in reversed(calls)][::-1] if isinstance(calls, list) else calls()

    actor = SimpleNamespace(
        finish=call(finish), left=call(jobs_left), outcomes=call(lambda: ([], None))
    )
    ours = SimpleNamespace(get=get, kill=lambda actor: done.append("killed"))
    monkeypatch.setattr(train_callback, "ray", ours)
    monkeypatch.setattr(tc.TrainCheckpointCallback, "_converter", lambda self: actor)
    callback("all").wait(run.result)
    assert done == ["complete", "killed"]


def test_an_actor_that_cannot_be_started_is_waited_for_no_longer_than_was_said(
    run, ray_session, monkeypatch, request
):
    options = {"name": request.node.name, "get_if_exists": True, "resources": {"nowhere": 1}}

    def unstartable(self):
        return ray.remote(converter.Converter).options(**options).remote(None)

    monkeypatch.setattr(tc.TrainCheckpointCallback, "_converter", unstartable)
    made = callback("all", drain_timeout_secs=0.1)
    run.report(made, 0)
    (outcome,) = made.wait(run.result)
    assert (outcome.status, outcome.cause) == ("failed", "timeout")


def test_without_options_there_is_no_actor(run, ray_session):
    made = callback()
    run.report(made, 0)
    assert made.wait(run.result) == []
    with pytest.raises(ValueError, match="actor"):
        ray.get_actor(made._name)


@pytest.fixture
def turns(monkeypatch):
    """A converter in this process, which looks about when its turn comes, and its clock."""
    turns = SimpleNamespace(now=0.0, next=Semaphore(0), ended=Event())
    clock = SimpleNamespace(monotonic=lambda: turns.now)
    context = SimpleNamespace(current_actor=None)
    actors = SimpleNamespace(get_runtime_context=lambda: context, kill=lambda me: turns.ended.set())
    monkeypatch.setattr(converter, "time", clock)
    monkeypatch.setattr(converter, "ray", actors)
    monkeypatch.setattr(converter.Converter, "_look", lambda self: turns.next.acquire())
    turns.converter = converter.Converter(Wanted("never", None, False, False, Owner()))
    return turns


def test_the_actor_stays_until_it_has_heard_nothing_of_the_run_for_ten_minutes(turns):
    for _ in range(4):  # hours between two checkpoints
        turns.now += 500
        turns.converter.stay()
        turns.next.release()
    assert not turns.ended.is_set()
    turns.now += 601
    turns.next.release()
    assert turns.ended.wait(60)


def test_the_controller_gives_a_sign_from_time_to_time(monkeypatch):
    came = Event()
    stay = SimpleNamespace(remote=lambda: came.set() or Event().wait())  # once is enough
    actor = SimpleNamespace(stay=stay)
    ours = SimpleNamespace(is_initialized=lambda: True, get_actor=lambda name: actor)
    monkeypatch.setattr(train_callback, "ray", ours)
    monkeypatch.setattr(train_callback, "_SIGN_SECS", 0.01)
    monkeypatch.setattr(tc.TrainCheckpointCallback, "_converter", lambda self: actor)
    pickle.loads(pickle.dumps(callback(verify=True)))  # as in the controller
    assert came.wait(60)


class Untouchable(LocalFileSystem):
    """Storage that is so slow that a hook must not wait for any of its answers."""

    def __getattribute__(self, name):
        if name in {"info", "open", "ls", "find", "exists", "mkdir", "makedirs", "rm", "cp_file"}:
            raise AssertionError(f"a hook asks storage: {name}")
        return super().__getattribute__(name)


def test_the_hook_asks_nothing_of_a_remote_store(run, monkeypatch, caplog):
    taken = []
    actor = SimpleNamespace(take=SimpleNamespace(remote=lambda run, name, jobs: taken.extend(jobs)))
    monkeypatch.setattr(tc.TrainCheckpointCallback, "_converter", lambda self: actor)
    made = callback("all", verify=True, pin_best=True)
    filesystem = PyFileSystem(FSSpecHandler(Untouchable()))
    checkpoint = ray.train.Checkpoint(str(run.folder / NAMES[1]), filesystem)
    made.after_report(CONTEXT, [run.metrics(1)], checkpoint)
    made._later.flush(60)
    assert (made.outcomes, caplog.text) == ([], "")  # where what fails is noted
    assert len(taken) == 3


def test_the_hook_waits_for_nothing(run, monkeypatch):
    """Whatever the actor and the storage do: only a thread of ours is held up."""
    held = Event()
    monkeypatch.setattr(tc.TrainCheckpointCallback, "_jobs", lambda *args: held.wait())
    monkeypatch.setattr(tc.TrainCheckpointCallback, "_converter", lambda self: held.wait())
    made = callback("all", verify=True, pin_best=True)
    for step in range(4):
        run.report(made, step)  # does not return if it waits
    held.set()
    made._later.flush(60)  # else its thread would go on without the stand-ins, and start a Ray


@pytest.mark.parametrize("metrics", [[], [{}], [{"eval": None}], [{"eval/score": "text"}]])
def test_strange_reports_do_no_harm(run, monkeypatch, metrics):
    taken = []
    actor = SimpleNamespace(take=SimpleNamespace(remote=lambda run, name, jobs: taken.append(name)))
    monkeypatch.setattr(tc.TrainCheckpointCallback, "_converter", lambda self: actor)
    made = callback("best", pin_best=True)
    made.after_report(None, metrics, ray.train.Checkpoint(str(run.folder / NAMES[1])))
    made.after_report(None, metrics, None)
    run.report(made, 3)
    made._later.flush(60)
    assert taken[-1] == NAMES[3]


# ---------------------------------------------------------------------------- the options


def test_both_callbacks_have_the_same_options():
    options = {"metric": "a", "mode": "min", "verify": True, "pin_best": True}
    given = inspect.signature(CheckpointOptions).parameters.keys() - {"convert"}
    assert {*options, "drain_timeout_secs"} == given
    for convert in ("never", "best", "last", "all", "at end"):
        for cls in (tc.CheckpointCallback, tc.TrainCheckpointCallback):
            assert cls(convert, drain_timeout_secs=1.0, **options).convert == convert


@pytest.mark.parametrize("cls", [tc.CheckpointCallback, tc.TrainCheckpointCallback])
@pytest.mark.parametrize(
    "options",
    [
        *({"convert": "some"}, {"convert": "best"}, {"pin_best": True}),
        *({"verify": "yes"}, {"pin_best": "no", "metric": "a"}),
        *({"drain_timeout_secs": secs} for secs in (None, -1, "60", math.nan, True)),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(cls, options):
    with pytest.raises(InvalidArgumentError):
        cls(**options)
