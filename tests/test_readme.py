"""What the README shows is what runs."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_ci_runs_the_readmes_test_command():
    _, test_command = (block.strip() for block in _blocks("sh"))
    ci = (Path(__file__).parents[1] / ".ci" / "run").read_text()
    assert test_command in ci


def test_the_quick_start_runs(tmp_path, monkeypatch, ray_session, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # where Tune puts a sweep that is given no path
    code = _blocks("python")[0]
    assert len(code.strip().splitlines()) <= 30
    scope = {"__name__": "__main__"}
    exec(compile(code, "README.md", "exec"), scope)
    assert scope["best"].config["lr"] == 0.5
    assert scope["best"].iteration == 3
    assert scope["model"].train()["training_iteration"] == 4
    assert scope["arrays"]["x"].tolist() == scope["best"].load()["x"].tolist()
    assert not [p for p in Path("served").rglob("*") if p.suffix == ".pkl"]


def test_the_other_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(_blocks("python")[1], "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "model/body" in told
    assert "step: 1 -> 2" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.zip", "runs"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["2"]


def test_the_function_runs(tmp_path, monkeypatch, ray_session):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    scope = {"__name__": "__main__"}
    exec(compile(_blocks("python")[2], "README.md", "exec"), scope)
    best = scope["best"]
    assert best.value == float(best.load()["x"] @ best.load()["x"])
    assert best.load()["step"] == best.iteration


@pytest.mark.parametrize("path", ["examples/digits_sweep.py", "LICENSE", "CHANGELOG.md"])
def test_files_that_are_promised_exist(path):
    assert (Path(__file__).parents[1] / path).exists()
