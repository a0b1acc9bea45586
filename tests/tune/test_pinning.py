"""The best checkpoint so far, pinned where other processes follow it."""

import json
import shutil
from pathlib import Path

import pytest

import tune_ckpt as tc
from tests.sweep.folders import A, function_trial, own_checkpoint
from tests.tune.sweeps import sweep
from tests.tune.trainables import Walker
from tune_ckpt.errors import CorruptDataError, NoCheckpointError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.beside import convert_best
from tune_ckpt.tune.outcomes import Outcome, Summary, report_json
from tune_ckpt.tune.pinning import pin_best


@pytest.fixture(scope="module", params=["pickle", "msgpack"])
def pinned(request, tmp_path_factory, ray_session):
    """A sweep that deletes its best checkpoint, and pins it, as it is or as msgpack."""
    convert = "best" if request.param == "msgpack" else "never"
    callback = tc.CheckpointCallback(convert, metric="score", mode="max", pin_best=True)
    folder, trials = tmp_path_factory.mktemp(request.param), 1 if convert == "best" else 2
    return request.param, sweep(folder, callback, trials=trials, keep=1)


def test_the_best_checkpoint_stays_though_tune_deletes_it(pinned):
    format, results = pinned
    assert not list(Path(results[0].path).glob("checkpoint_000001"))
    record = tc.pinned_checkpoint(results.experiment_path)
    assert (record.value, record.iteration) == (0.9, 2)
    assert record.trial_id in [result.metrics["trial_id"] for result in results]
    assert record.metrics["walk"]["at"] == record.restore(Walker, allow_pickle=True).path[-1]
    assert tc.verify(record).ok
    assert tc.describe(record).format == format


def test_best_json_tells_where_it_is_and_what_is_known(pinned):
    _, results = pinned
    folder = Path(results.experiment_path) / "best"
    told = json.loads((folder / "best.json").read_text())
    assert (told["metric"], told["mode"], told["value"]) == ("score", "max", 0.9)
    assert (folder / told["folder"] / "metadata.json").exists()
    assert told["config"]["seed"] in (0, 1)
    left = {path.name for path in folder.iterdir()} - {"best.json", told["folder"]}
    assert left <= {told["previous"]}


def test_the_copy_stands_for_the_best_checkpoint_that_tune_has_deleted(pinned):
    format, results = pinned
    best = tc.best_checkpoint(results.experiment_path, "score", "max")
    # Its conversion beside it, where there is one, comes first.
    assert ("/msgpack/" if format == "msgpack" else "/best/") in best.path
    assert (best.value, best.iteration, best.verified) == (0.9, 2, True)


@pytest.fixture
def experiment(pinned, tmp_path):
    """A copy of the sweep's folder."""
    return shutil.copytree(pinned[1].experiment_path, tmp_path / "run")


def test_what_a_killed_driver_left_undone_is_pinned_afterwards(experiment):
    shutil.rmtree(experiment / "best")
    for mode in ("max", "min"):  # the second one is another goal
        best = tc.best_checkpoint(experiment, "score", mode).value
        (outcome,) = pin_best(str(experiment), Metric("score", mode), as_msgpack=False)
        assert (outcome.status, tc.pinned_checkpoint(experiment).value) == ("done", best)
        (again,) = pin_best(str(experiment), Metric("score", mode), as_msgpack=False)
        assert again.status == "up to date"


def test_what_is_pinned_from_a_conversion_is_one_checkpoint_with_it(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.5}])
    shutil.rmtree(folder / "checkpoint_000000")
    own_checkpoint(folder / "msgpack/checkpoint_000000", {"acc": 0.5}, 1)
    (outcome,) = pin_best(str(tmp_path), Metric("acc"), as_msgpack=True)
    assert outcome.status == "done"
    conversion = folder / "msgpack/checkpoint_000000"
    assert [record.path for record in tc.rank_checkpoints(tmp_path, "acc")] == [str(conversion)]
    shutil.rmtree(conversion)
    assert tc.best_checkpoint(tmp_path, "acc").path == tc.pinned_checkpoint(tmp_path).path
    assert convert_best(str(tmp_path), Metric("acc")) == []
    assert not (tmp_path / "best/msgpack").exists()


def test_where_nothing_is_pinned_the_error_says_how_to(tmp_path):
    with pytest.raises(NoCheckpointError, match="pin_best=True"):
        tc.pinned_checkpoint(tmp_path)


def test_a_damaged_best_json_is_named_and_replaced(experiment):
    (experiment / "best" / "best.json").write_text('{"metric": 1')
    with pytest.raises(CorruptDataError, match=r"best\.json"):
        tc.pinned_checkpoint(experiment)
    pin_best(str(experiment), Metric("score", "max"), as_msgpack=False)
    assert tc.pinned_checkpoint(experiment).value == tc.best_checkpoint(experiment, "score").value


def test_the_summary_adds_up(pinned):
    format, results = pinned
    report = json.loads((Path(results.experiment_path) / "tune_ckpt_report.json").read_text())
    summary = report["summary"]
    assert sum(summary["counts"].values()) == len(report["outcomes"])
    assert summary["counts"]["pin: done"] >= 2
    assert (summary["nbytes"] > 0) == (format == "msgpack")
    assert not summary["causes"]
    assert "pin: done" in str(Summary(**summary))


def test_the_summary_tells_why_checkpoints_were_skipped_each_once():
    why = "it is msgpack already"
    paths = ["checkpoint_000000", "checkpoint_000001", "checkpoint_000001"]  # again at the end
    skipped = [Outcome(path, "convert", "skipped", why, seconds=n) for n, path in enumerate(paths)]
    nothing = Outcome("sweep", "pin", "skipped", "No usable checkpoint in sweep:\n  - trial a")
    report = json.loads(report_json([*skipped, nothing]))
    assert str(Summary(**report["summary"])).splitlines() == [
        "tune_ckpt: convert: skipped 2, pin: skipped 1",
        "  not converted: it is msgpack already: 2",
        "  not pinned: No usable checkpoint in sweep: 1",
    ]
    assert len(report["outcomes"]) == 3
