"""``tune-ckpt ls`` and ``tune-ckpt best``."""

import pytest

import tune_ckpt as tc
from tests.agents import Agent

KEYS = ["rank", "value", "trial_id", "iteration", "config", "path", "converted"]


def test_ls_ranks_what_is_left_from_the_best_down(tk, sweep):
    answer = tk("ls", sweep, "--metric", "eval/acc", "--json")
    assert answer.code == 0
    assert list(answer.json) == [
        "experiment",
        "metric",
        "mode",
        "checkpoints",
        "metrics",
        "passed_over",
    ]
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


def test_ls_passes_over_a_damaged_one_only_if_told_to_verify(tk, sweep):
    best = tk("ls", sweep, "--metric", "eval/acc", "-k", 1, "--json").json["checkpoints"][0]
    with open(f"{best['path']}/state.pkl", "wb"):
        pass
    again = tk("ls", sweep, "--metric", "eval/acc", "-k", 1, "--json").json["checkpoints"][0]
    assert again["path"] == best["path"]
    told = tk("ls", sweep, "--metric", "eval/acc", "-k", 1, "--verify", "--json").json
    assert told["checkpoints"][0]["value"] == 0.8
    assert "damaged" in told["passed_over"][0]


def test_ls_in_a_pipe_is_a_line_a_checkpoint_with_whole_paths(tk, sweep):
    lines = tk("ls", sweep, "--metric", "eval/acc").out.splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert header == ["#", "eval/acc", "trial", "iteration", "config", "checkpoint"]
    assert len(rows) == 4
    assert rows[0][-1].startswith(f"{sweep}/")
    assert rows[0][:5] == ["1", "0.9", "aaaaa_00000", "3", "lr=0.1"]


@pytest.mark.parametrize("columns", [80, 200])
def test_ls_fits_the_terminal(tk, sweep, terminal, columns):
    terminal(columns)
    lines = tk("ls", sweep, "--metric", "eval/acc").out.splitlines()
    assert max(map(len, _without_escapes(lines))) <= columns
    assert ("config" in "".join(lines)) is (columns == 200)


def _without_escapes(lines):
    import re

    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


def test_best_prints_the_path_alone_to_stdout(tk, sweep):
    answer = tk("best", sweep, "--metric", "eval/acc")
    expected = tc.best_checkpoint(sweep, "eval/acc").path
    assert answer.out == f"{expected}\n"
    assert "eval/acc 0.9, trial aaaaa_00000, iteration 3" in answer.err
    assert "runner-up: eval/acc 0.8" in answer.err


def test_best_as_json_has_stable_keys(tk, sweep):
    answer = tk("best", sweep, "--metric", "eval/acc", "--mode", "max", "--json").json
    assert list(answer) == [
        *("path", "metric", "mode", "value", "trial_id", "iteration", "config", "metrics"),
        *("converted", "runner_up", "passed_over", "exported"),
    ]
    assert answer["metrics"]["eval"] == {"acc": 0.9}
    assert answer["runner_up"]["value"] == 0.8


def test_best_exports_as_msgpack(tk, sweep, tmp_path):
    answer = tk("best", sweep, "--metric", "eval/acc", "-o", tmp_path / "served")
    assert answer.code == 0
    assert Agent.from_checkpoint(tmp_path / "served").step == 3
    assert not [*(tmp_path / "served").rglob("*.pkl")]
