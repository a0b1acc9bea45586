"""``tune-ckpt plot`` and ``tune-ckpt demo``."""

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


@pytest.mark.slow
def test_demo_makes_a_sweep_that_the_other_commands_take(tk, tmp_path, ray_session, monkeypatch):
    came, run = [], demo_sweep.run
    monkeypatch.setattr(demo_sweep, "run", lambda folder, advance: run(folder, came.append))
    answer = tk("demo", tmp_path / "demo", "--json").json
    assert list(answer) == ["path", "metric", "best", "other"]
    rows = tk("ls", answer["path"], "--metric", answer["metric"], "--json").json["checkpoints"]
    assert len({row["trial_id"] for row in rows}) == 4
    assert tk("verify", answer["best"]).code == 0
    assert tk("diff", answer["best"], answer["other"]).code == 1
    assert tk("scan", answer["best"]).code == 0
    assert came == [1] * demo_sweep.RESULTS  # which moves the bar
