"""``tune-ckpt plot`` and ``tune-ckpt demo``."""

import shlex

import pytest

import tune_ckpt as tc
from tune_ckpt.cli import demo_sweep

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "html": b"<!doctype html>"}


@pytest.mark.parametrize("suffix", MAGIC)
def test_plot_writes_the_kind_that_the_name_tells(tk, sweep, tmp_path, suffix):
    out = tmp_path / f"new/x.{suffix}"
    answer = tk("plot", sweep, "--metric", "eval/acc", "-o", out)
    assert (answer.code, answer.out) == (0, f"{out}\n")
    assert out.read_bytes().startswith(MAGIC[suffix])


@pytest.mark.parametrize("what", ["curves", "sizes", "timeline"])
def test_plot_draws_what_is_asked_on_dark_ground(tk, sweep, tmp_path, what):
    out = tmp_path / "x.svg"
    assert tk("plot", sweep, "--metric", "eval/acc", "-o", out, "--what", what, "--dark").code == 0
    assert "fill: #0d1117" in out.read_text()


def test_plot_as_json(tk, sweep, tmp_path):
    out = tmp_path / "x.png"
    answer = tk("plot", sweep, "--metric", "eval/acc", "-o", out, "--json").json
    best = tc.best_checkpoint(sweep, "eval/acc").path
    facts = {"trials": 2, "checkpoints": 6, "deleted": 2, "best": best, "passed_over": []}
    assert answer == {"path": str(out), **facts}


def test_plot_tells_which_checkpoint_is_damaged(tk, sweep, tmp_path):
    best = tc.best_checkpoint(sweep, "eval/acc")
    with open(f"{best.path}/state.pkl", "wb"):
        pass
    typed = ["plot", sweep, "--metric", "eval/acc", "-o", tmp_path / "x.html"]
    told = f"trial {best.trial_id}, iteration 3 (checkpoint_000002) has eval/acc 0.9, but"
    assert f"passed over: {told}" in tk(*typed).err
    assert f"Passed over: {told}" in (tmp_path / "x.html").read_text()
    answer = tk(*typed, "--json").json
    assert answer["best"] == best.runner_up.path
    assert answer["passed_over"][0].startswith(told)


def test_plot_into_an_unknown_kind_of_file_is_wrong_use(tk, sweep, tmp_path):
    answer = tk("plot", sweep, "--metric", "eval/acc", "-o", tmp_path / "x.pdf")
    assert answer.code == 2
    assert ".html, .png or .svg" in answer.err


# What it is when it is not pretended, tests/test_readme.py shows, with the commands that follow.
def test_demo_tells_the_two_best_and_what_to_type_next(tk, sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_sweep, "run", lambda folder, advance: str(sweep))
    best, other = (record.path for record in tc.rank_checkpoints(sweep, "eval/acc", k=2))
    answer = tk("demo", tmp_path, "--json").json
    assert answer == {"path": str(sweep), "metric": "eval/acc", "best": best, "other": other}
    told = tk("demo", tmp_path)
    assert told.out == f"{sweep}\n"
    assert f"  tune-ckpt diff {best} {other}\n" in told.err
    monkeypatch.chdir(tmp_path)
    lines = [line for line in told.err.splitlines() if line.startswith("  tune-ckpt ")]
    assert len(lines) == 6
    for line in lines:
        _, *arguments = shlex.split(line.partition("  # ")[0])
        assert tk(*arguments).code == 0, line  # diff, too: both are of the same iteration


def test_each_result_of_the_demo_moves_its_bar():
    came = []
    demo_sweep._Told(came.append).on_trial_result(1, [], None, {})
    assert came == [1]
