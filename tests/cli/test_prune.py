"""``tune-ckpt prune``: what it shows is what it does, and it does nothing unasked."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest

import tune_ckpt as tc
from tests.conftest import REPO
from tests.sweep.folders import A, function_trial, make_sweep, own_checkpoint
from tune_ckpt.tune import pruning_jobs
from tune_ckpt.tune.pruning import Pruner
from tune_ckpt.tune.pruning_at_rest import plan_pruning

BEST = ["--keep-last", "0", "--keep-best", "1", "--metric", "eval/acc", "--mode", "max"]


def _finish(sweep):
    for results in sweep.glob("*/result.json"):
        *lines, last = results.read_text().splitlines()
        results.write_text("\n".join([*lines, json.dumps({**json.loads(last), "done": True})]))
    return sweep


@pytest.fixture
def finished(sweep):
    return _finish(sweep)


def _there(sweep):
    return sorted(path.name for path in sweep.glob("*/checkpoint_*"))


def test_a_dry_run_tells_what_would_go_and_why_and_deletes_nothing(tk, finished):
    before = _there(finished)
    answer = tk("prune", finished, *BEST, "--dry-run", "--json")
    assert answer.code == 0
    told = {(row["value"], row["stays"], *row["because"]) for row in answer.json["checkpoints"]}
    best = "among the best 1"
    assert told == {(0.9, True, best), (0.8, True, best), (0.7, False), (0.6, False)}
    assert answer.json["freed_nbytes"] > 0
    assert _there(finished) == before


def test_what_the_dry_run_told_is_what_goes(tk, finished):
    rows = tk("prune", finished, *BEST, "--dry-run", "--json").json["checkpoints"]
    assert tk("prune", finished, *BEST, "--yes").code == 0
    left = {str(path.relative_to(finished)) for path in finished.glob("*/checkpoint_*")}
    assert left == {row["path"] for row in rows if row["stays"]}
    assert all(tc.verify(finished / name).ok for name in left)


@pytest.mark.parametrize("damaged", [True, False])
def test_the_newest_of_an_unfinished_trial_is_verified_once(tmp_path, monkeypatch, damaged):
    trial = function_trial(tmp_path, A, [{"acc": n / 10} for n in range(4)], checkpoints=False)
    for number in range(4):
        own_checkpoint(trial / f"checkpoint_{number:06}", {"acc": number / 10}, number + 1)
    if damaged:
        (trial / "checkpoint_000003/state.msgpack").write_bytes(b"x")
    verified, real = [], pruning_jobs.verify
    monkeypatch.setattr(
        pruning_jobs, "verify", lambda path, **more: verified.append(path) or real(path, **more)
    )
    outcomes = list(plan_pruning(tmp_path, tc.Retention(keep_last=1)).carry_out())
    assert [outcome.status for outcome in outcomes] == ["skipped" if damaged else "done"] * 3
    assert verified == [str(trial / "checkpoint_000003")]


def test_the_plan_is_that_of_the_callback(finished):
    policy = tc.Retention(keep_last=1, keep_best=1, metric="eval/acc", mode="min")
    pruner = Pruner(policy)
    for folder in sorted(finished.glob("train_*")):
        for line in (folder / "result.json").read_text().splitlines():
            result = json.loads(line)
            path = folder / result["checkpoint_dir_name"]
            if path.exists():
                pruner.add(folder.name, str(path), result)
    expected = {one.path for one, _ in pruner.take_doomed(set(), set())}
    assert {one.path for one, _ in plan_pruning(finished, policy).doomed} == expected


def test_the_conversion_goes_with_its_checkpoint(tk, finished):
    folder = next(finished.glob("train_*00000_*"))
    tc.convert_checkpoint(folder / "checkpoint_000001", folder / "msgpack" / "checkpoint_000001")
    tk("prune", finished, *BEST, "--yes")
    assert not (folder / "msgpack" / "checkpoint_000001").exists()


def test_the_newest_of_an_unfinished_trial_stays_whatever_the_budget(tk, sweep):
    answer = tk("prune", sweep, "--max-bytes", "0", "--at-rest", "--yes", "--json")
    assert (answer.code, _there(sweep)) == (0, ["checkpoint_000002", "checkpoint_000002"])
    stays = [row["because"] for row in answer.json["checkpoints"] if row["stays"]]
    assert stays == [["newest of an unfinished trial", "among the last 1"]] * 2


def test_nothing_of_an_unfinished_trial_goes_while_its_newest_is_damaged(tk, sweep):
    newest = next(sweep.glob("*00000_*")) / "checkpoint_000002"
    state = newest / "model" / "state.pkl"
    state.write_bytes(state.read_bytes()[:-3])
    answer = tk("prune", sweep, "--keep-last", "1", "--at-rest", "--yes")
    assert (answer.code, len(_there(sweep))) == (1, 3)
    assert "the newest of its trial is damaged: checkpoint_000002" in answer.err


def test_a_sweep_that_seems_to_run_is_left_alone(tk, sweep):
    answer = tk("prune", sweep, *BEST, "--yes")
    assert (answer.code, len(_there(sweep))) == (2, 4)
    assert "seems to run" in answer.err
    assert "--at-rest" in answer.err
    assert answer.out == ""  # a plan would look like something that is done


@pytest.mark.parametrize(("mode", "end"), [("max", "highest"), ("min", "lowest")])
def test_the_plan_tells_which_end_is_the_best(tk, finished, mode, end):
    answer = tk("prune", finished, *BEST, "--mode", mode, "--dry-run")
    assert f"best is the {end} eval/acc" in answer.err


def test_a_sweep_without_news_is_dead(tk, sweep):
    for path in (*sweep.glob("experiment_state*"), *sweep.glob("*/result.json")):
        os.utime(path, (1e9, 1e9))
    assert tk("prune", sweep, *BEST, "--yes").code == 0


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_in_a_pipe_it_must_be_told_to_delete(tk, finished, options):
    answer = tk("prune", finished, *BEST, *options)
    assert (answer.code, len(_there(finished))) == (2, 4)
    assert "--yes" in answer.err


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 2), ("n\n", 1, 4)])
def test_at_a_terminal_it_asks(tk, finished, monkeypatch, typed, code, left):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    answer = tk("prune", finished, *BEST)
    assert (answer.code, len(_there(finished))) == (code, left)
    assert "Delete 2 checkpoints?" in answer.err


def test_a_misspelled_metric_deletes_nothing(tk, finished):
    best = ["--keep-best", "1", "--metric", "eval/ac", "--mode", "max"]
    options = ["--keep-last", "0", *best, "--yes"]
    answer = tk("prune", finished, *options)
    assert (answer.code, len(_there(finished))) == (2, 4)
    assert "nearest first: eval/acc" in answer.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "say what stays"),
        (["--keep-best", "1"], "give --metric"),
        (["--keep-best", "1", "--metric", "eval/acc"], "give --mode"),
        (["--max-bytes", "0", "--metric", "eval/acc"], "give --mode"),
        (["--max-bytes", "50 GBit"], "50 GBit"),
    ],
)
def test_wrong_use_deletes_nothing(tk, finished, options, told):
    answer = tk("prune", finished, *options, "--yes")
    assert (answer.code, len(_there(finished))) == (2, 4)
    assert told in answer.err


def test_on_s3(tk, tmp_path, s3, bucket):
    uri = s3.upload(_finish(make_sweep(tmp_path / "sweep")), f"{bucket}/sweep")
    answer = tk("prune", uri, *BEST, "--yes", "--json")
    assert (answer.code, [row["status"] for row in answer.json["checkpoints"]]) == (
        0,
        [None, None, "done", "done"],
    )
    rows = tk("ls", uri, "--metric", "eval/acc", "--json").json["checkpoints"]
    assert [row["value"] for row in rows] == [0.9, 0.8]


INTERRUPTED = """
import os, signal, sys
from tune_ckpt.cli import main
from tune_ckpt.tune import pruning_jobs
delete = pruning_jobs.delete_whole
def slowly(path, filesystem=None):
    os.kill(os.getpid(), signal.SIGINT)
    delete(path, filesystem)
pruning_jobs.delete_whole = slowly
main()
"""


def test_after_an_interrupt_each_checkpoint_is_whole_or_gone(finished):
    command = [sys.executable, "-c", INTERRUPTED, "prune", finished, *BEST, "--yes"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 128 + signal.SIGINT
    assert "Traceback" not in run.stderr
    left = [*finished.glob("*/checkpoint_*")]
    assert len(left) == 3
    assert all(tc.verify(path).ok for path in left)
    names = {name for folder in finished.glob("train_*") for name in os.listdir(folder)}
    assert names <= {"params.json", "result.json", *(f"checkpoint_{n:06}" for n in range(3))}
