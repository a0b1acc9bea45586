"""Where a package is not installed, whoever needs it is told how to get it."""

import runpy
import subprocess
import sys

import pytest

import tune_ckpt as tc
from tests.sweep.folders import make_sweep
from tune_ckpt.errors import MissingDependencyError


@pytest.fixture
def ranked(tmp_path):
    return tc.rank_checkpoints(make_sweep(tmp_path / "s"), "eval/acc")


def test_a_table_is_printed_without_rich(ranked, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    title, head, *rows = str(ranked).splitlines()
    assert title.startswith("eval/acc (max) in ")
    assert head.split()[:4] == ["trial", "iteration", "eval/acc", "config"]
    assert [row.split()[2] for row in rows] == ["0.9", "0.8", "0.7", "0.6"]
    assert {row.index("lr=") for row in rows} == {head.index("config")}


@pytest.mark.parametrize(
    ("module", "install", "use"),
    [
        ("pandas", "pandas", lambda ranked: ranked.to_pandas()),
        ("pyarrow", "pyarrow", lambda _: tc.load_state("s3://bucket/run/1")),
        ("pyarrow", "pyarrow", lambda _: tc.best_checkpoint("gs://bucket/sweep", "loss")),
        ("ray.tune", r"'ray\[tune\]'", lambda ranked: ranked[0].checkpoint),
    ],
    ids=["to_pandas", "s3", "gs", "checkpoint"],
)
def test_the_package_is_told(ranked, monkeypatch, module, install, use):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=f"pip install {install}$"):
        use(ranked)


NAMES = """
import sys
sys.modules["ray"] = None
import tune_ckpt
for name in sys.argv[1:]:
    try:
        getattr(tune_ckpt, name)
    except tune_ckpt.errors.MissingDependencyError as error:
        print(error)
"""


def test_the_command_without_typer_tells_so(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("typer", "tune_ckpt.cli"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"^tune-ckpt: .* needs typer: pip install typer$"):
        runpy.run_module("tune_ckpt", run_name="__main__")


def test_a_name_that_needs_ray_tells_so():
    names = ["CheckpointableTrainable", "resume", "CheckpointCallback", "TrainCheckpointCallback"]
    command = [sys.executable, "-c", NAMES, *names]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    need = "needs ray[tune]: pip install 'ray[tune]'"
    assert told.splitlines() == [f"tune_ckpt.{name} {need}" for name in names]
