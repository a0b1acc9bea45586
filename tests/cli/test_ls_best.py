"""``tune-ckpt ls`` and ``tune-ckpt best``."""

import json

import pytest

import tune_ckpt as tc
from tests.agents import Agent
from tests.cli.conftest import without_escapes
from tests.sweep.folders import A, function_trial, make_sweep, plain_checkpoint
from tune_ckpt.cli.options import Scopes
from tune_ckpt.sweep.scopes import SCOPES

KEYS = ["rank", "value", "score", "trial_id", "iteration", "config", "path", "converted"]


def test_ls_ranks_what_is_left_from_the_best_down(tk, sweep):
    answer = tk("ls", sweep, "--metric", "eval/acc", "--json")
    assert answer.code == 0
    rows = answer.json["checkpoints"]
    assert all(list(row) == KEYS for row in rows)
    assert [row["value"] for row in rows] == [0.9, 0.8, 0.7, 0.6]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["config"] == {"lr": 0.1, "same": 1}


@pytest.mark.parametrize(("mode", "best"), [("max", 0.9), ("min", 0.6)])
def test_ls_obeys_mode_and_k(tk, sweep, mode, best):
    answer = tk("ls", sweep, "--metric", "eval/acc", "--mode", mode, "-k", 1, "--json")
    assert [row["value"] for row in answer.json["checkpoints"]] == [best]


def test_ls_without_a_metric_lists_all_and_tells_the_metrics(tk, sweep):
    answer = tk("ls", sweep, "--json").json
    found = [(row["trial_id"], row["iteration"]) for row in answer["checkpoints"]]
    assert found == [(t, i) for t in ("aaaaa_00000", "aaaaa_00001") for i in (2, 3)]
    assert "eval/acc" in answer["metrics"]


def test_ls_tells_where_a_checkpoint_is_that_lies_elsewhere(tk, tmp_path):
    trial = function_trial(tmp_path / "sweep", A, [{}], checkpoints=False)
    there = tmp_path / "there/run/checkpoint_1"  # of a Train run, whose storage is another
    plain_checkpoint(there)
    paths = [str(there), "/gone/run/checkpoint_2"]
    lines = [json.dumps({"acc": 1, "checkpoint_path": path}) for path in paths]
    (trial / "result.json").write_text("\n".join(lines))
    found = tk("ls", tmp_path / "sweep", "--json").json["checkpoints"]
    assert [row["path"] for row in found] == [str(there)]


def test_ls_passes_over_a_damaged_one_only_if_told_to_verify(tk, sweep):
    best = tk("ls", sweep, "--metric", "eval/acc", "-k", 1, "--json").json["checkpoints"][0]
    with open(f"{best['path']}/state.pkl", "wb"):
        pass
    again = tk("ls", sweep, "--metric", "eval/acc", "-k", 1, "--json").json["checkpoints"][0]
    assert again["path"] == best["path"]
    told = tk("ls", sweep, "--metric", "eval/acc", "-k", 1, "--verify", "--json").json
    assert told["checkpoints"][0]["value"] == 0.8
    assert "damaged" in told["passed_over"][0]


@pytest.mark.parametrize(
    ("options", "said"), [([], True), (["--verify"], False), (["--json"], False)]
)
def test_ls_says_that_it_verified_nothing(tk, sweep, options, said):
    answer = tk("ls", sweep, "--metric", "eval/acc", *options)
    assert ("Nothing was verified" in answer.err) is said


@pytest.mark.parametrize(("options", "said"), [([], True), (["--mode", "max"], False)])
def test_ls_says_that_the_largest_is_the_best_where_nobody_told(tk, sweep, options, said):
    answer = tk("ls", sweep, "--metric", "eval/acc", *options)
    assert ("The largest eval/acc is taken for the best" in answer.err) is said


def test_ls_in_a_pipe_is_a_line_a_checkpoint_with_whole_paths(tk, sweep):
    lines = tk("ls", sweep, "--metric", "eval/acc").out.splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert header == ["#", "eval/acc", "trial", "iteration", "config", "checkpoint"]
    assert len(rows) == 4
    assert rows[0][-1].startswith(f"{sweep}/")
    assert rows[0][:5] == ["1", "0.9", "aaaaa_00000", "3", "lr=0.1"]


@pytest.mark.parametrize("options", [[], ["--metric", "eval/acc"]])
@pytest.mark.parametrize("k", [[], ["-k", 1], ["-k", 2]])
def test_ls_shows_of_configs_what_differs_in_the_sweep(tk, sweep, options, k):
    for trial, width in zip(sorted(sweep.glob("train_*")), (32, 64), strict=True):
        model = {"width": width, "act": "relu"}
        (trial / "params.json").write_text(json.dumps({"same": 1, "model": model}))
    header, *rows = (line.split("\t") for line in tk("ls", sweep, *options, *k).out.splitlines())
    expected = {"aaaaa_00000": "model/width=32", "aaaaa_00001": "model/width=64"}
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert all(row["config"] == expected[row["trial"]] for row in found)


@pytest.mark.parametrize("columns", [80, 200])
def test_ls_fits_the_terminal(tk, sweep, terminal, columns):
    terminal(columns)
    told = without_escapes(tk("ls", sweep, "--metric", "eval/acc").out)
    assert max(map(len, told.splitlines())) <= columns
    assert ("config" in told) is (columns == 200)


def test_ls_at_a_terminal_leaves_out_the_sweeps_own_path(tk, sweep, terminal):
    (trial, *_) = sorted(folder.name for folder in sweep.glob("train_*"))
    sweep = sweep.rename(sweep.with_name(trial[-2:]))  # on which trials' names end as well
    terminal(200)
    told = without_escapes(tk("ls", sweep).out)
    assert f" {trial}/checkpoint_000001 " in told
    assert str(sweep) not in told


@pytest.mark.parametrize("command", ["best", "ls"])
@pytest.mark.parametrize(
    ("typed", "lr"), [("lr=0.2", 0.2), ("lr=2e-1", 0.2), ("same=1", 0.1), ("model/width=64", 0.2)]
)
def test_where_chooses_by_the_config(tk, sweep, command, typed, lr):
    wide = next(sweep.glob("train_aaaaa_00001_*"))
    (wide / "params.json").write_text('{"lr": 0.2, "same": 1, "model": {"width": 64}}')
    answer = tk(command, sweep, "--metric", "eval/acc", "--where", typed, "--json").json
    assert answer.get("checkpoints", [answer])[0]["config"]["lr"] == lr


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("64", 64),
        ("true", True),
        ("True", True),
        ("null", None),
        ("'64'", "64"),
        ("{[]: 1}", "{[]: 1}"),
    ],
)
def test_where_takes_values_as_json_and_python_write_them(tk, sweep, typed, value):
    for trial in sweep.glob("train_*"):
        (trial / "params.json").write_text(json.dumps({"x": value}))
    answer = tk("best", sweep, "--metric", "eval/acc", "--where", f"x={typed}", "--json")
    assert answer.json["config"] == {"x": value}


def test_every_where_must_be_so(tk, sweep):
    both = ["--where", "lr=0.2", "--where", "same=2"]
    answer = tk("best", sweep, "--metric", "eval/acc", *both)
    assert answer.code == 1
    assert "--where refused all" in answer.err
    assert "no same is 2; there are: 1" in answer.err


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["lr"], "--where lr: give a name in the config and its value, as lr=0.1"),
        (["lr=1", "lr=2"], "--where lr=2: lr was given before"),
        (["rate=1"], "--where 'rate' is not possible; it may be: same, lr"),
    ],
)
def test_a_where_that_fits_nothing_is_wrong_use(tk, sweep, typed, told):
    answer = tk("best", sweep, "--metric", "eval/acc", *(f"--where={one}" for one in typed))
    assert answer.code == 2
    assert told in answer.err


def test_scope_compares_trials_as_tune_does(tk, tmp_path):
    peak, steady = {"aaaaa_00000": (0.1, [0.0, 0.1, 0.9])}, {"aaaaa_00001": (0.2, [0.6, 0.7, 0.8])}
    sweep = make_sweep(tmp_path / "s", peak | steady)
    typed = [sweep, "--metric", "eval/acc", "--scope", "avg"]
    best, listed = (tk(command, *typed, "--json").json for command in ("best", "ls"))
    assert (best["value"], best["scope"], best["score"]) == (0.8, "avg", pytest.approx(0.7))
    assert [row["value"] for row in listed["checkpoints"]] == [0.8, 0.7, 0.9, 0.1]
    assert tk("ls", *typed).out.splitlines()[0].split("\t")[:3] == ["#", "eval/acc", "avg"]
    assert "avg of the trial 0.7" in tk("best", *typed).err


def test_the_scopes_are_those_of_python():
    assert [scope.value for scope in Scopes] == [scope.name for scope in SCOPES]


@pytest.mark.parametrize("option", ["--mode=min", "--scope=avg", "--where=lr=0.1", "--verify"])
def test_what_a_ranking_needs_is_refused_without_a_metric(tk, sweep, option):
    answer = tk("ls", sweep, option)
    assert answer.code == 2
    assert "give --metric, too" in answer.err


def test_best_prints_the_path_alone_to_stdout(tk, sweep):
    answer = tk("best", sweep, "--metric", "eval/acc")
    expected = tc.best_checkpoint(sweep, "eval/acc").path
    assert answer.out == f"{expected}\n"
    assert "eval/acc 0.9, trial aaaaa_00000, iteration 3" in answer.err
    assert "runner-up: eval/acc 0.8" in answer.err


@pytest.mark.parametrize(("mode", "said"), [([], True), (["--mode", "max"], False)])
@pytest.mark.parametrize("command", ["best", "ls"])
def test_it_is_said_which_end_was_taken_where_nobody_told(tk, sweep, command, mode, said):
    answer = tk(command, sweep, "--metric", "eval/acc", *mode)
    assert ("largest eval/acc is taken for the best; --mode min" in answer.err) is said


def test_best_as_json_has_its_metrics_and_the_runner_up(tk, sweep):
    answer = tk("best", sweep, "--metric", "eval/acc", "--mode", "max", "--json").json
    assert answer["metrics"]["eval"] == {"acc": 0.9}
    assert answer["runner_up"]["value"] == 0.8


def test_best_tells_what_was_better_but_is_gone(tk, tmp_path):
    function_trial(tmp_path, "aaaaa_00001", [{"acc": 0.9}], checkpoints=False)
    function_trial(tmp_path, A, [{"acc": 0.5}])
    typed = ["best", tmp_path, "--metric", "acc"]
    assert "better, but gone: trial aaaaa_00001, iteration 1 has acc 0.9" in tk(*typed).err
    assert len(tk(*typed, "--json").json["better_but_gone"]) == 1


def test_best_exports_as_msgpack(tk, sweep, tmp_path):
    answer = tk("best", sweep, "--metric", "eval/acc", "-o", tmp_path / "served")
    assert answer.code == 0
    assert Agent.from_checkpoint(tmp_path / "served").step == 3
    assert not [*(tmp_path / "served").rglob("*.pkl")]
