"""What the README shows is what runs, and what it names is what there is."""

import ast
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

import tune_ckpt as tc
from tests.conftest import REPO
from tune_ckpt import rllib
from tune_ckpt.cli import main

README = (REPO / "README.md").read_text()


def _blocks(language):
    """The blocks of a language, each behind so many empty lines that an error tells its line."""
    for found in re.finditer(rf"```{language}\n(.*?)```", README, re.DOTALL):
        yield "\n" * README[: found.start(1)].count("\n") + found[1]


def _section(title):
    return README.partition(f"\n{title}\n")[2].partition("\n#")[0]


@pytest.fixture(scope="module")
def page(tmp_path_factory, ray_session):
    """What is known after each block of Python, run from the top of the page to its end."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "tests").symlink_to(REPO / "tests")
    scope, after = {"__name__": "__main__"}, []
    with pytest.MonkeyPatch.context() as changed:
        changed.chdir(folder)
        changed.setenv("HOME", str(folder))  # where Tune puts a sweep that is given no path
        for code in _blocks("python"):
            exec(compile(code, "README.md", "exec"), scope)
            after.append(SimpleNamespace(**scope))
        yield SimpleNamespace(folder=folder, after=after)


@pytest.mark.slow
def test_the_quick_start(page):
    assert len(next(_blocks("python")).strip().splitlines()) <= 30
    known = page.after[0]
    assert (known.best.config["lr"], known.best.iteration) == (0.5, 3)
    assert known.model.train()["training_iteration"] == 4
    assert known.arrays["x"].tolist() == known.best.load()["x"].tolist()
    assert not [*(page.folder / "served").rglob("*.pkl")]


@pytest.mark.slow
def test_finding_the_best(page):
    known = next(known for known in page.after if hasattr(known, "front"))
    assert [record.config["lr"] for record in known.ranked] == [0.5, 0.1]
    assert {record.config["lr"] for record in known.front} == {0.5}
    assert list(known.mean["x"]) == [(1.25 + 7.29) / 2] * 3


@pytest.mark.slow
def test_without_a_class(page):
    known = next(known for known in page.after if hasattr(known, "pending"))
    assert known.step == 3
    assert known.weights["weight"].shape == (2, 4)
    assert tc.load_state(page.folder / "run" / "2")["step"] == 3


@pytest.mark.slow
def test_rllibs_checkpoints(page):
    known = next(known for known in page.after if hasattr(known, "policy"))
    assert known.action in (0, 1)
    assert {name for name in known.weights if "logits" in name}
    assert rllib.get_checkpoint_info(page.folder / "upgraded")["checkpoint_version"] >= 1.1


@pytest.mark.slow
def test_while_a_sweep_runs_and_going_on(page):
    watched = next(known for known in page.after if hasattr(known, "pinned"))
    assert watched.pinned.iteration == 3
    resumed = next(known for known in page.after if hasattr(known, "tuner"))
    assert {one.metrics["training_iteration"] for one in resumed.results} == {5}


@pytest.mark.slow
def test_looking_after_checkpoints_and_functions(page):
    assert [path.name for path in (page.folder / "runs").iterdir()] == ["2"]
    best = next(known.best for known in page.after if hasattr(known, "train"))
    assert best.value == float(best.load()["x"] @ best.load()["x"])
    assert best.load()["step"] == best.iteration


@pytest.mark.slow
def test_every_command_runs(page, monkeypatch, capsys):
    monkeypatch.chdir(page.folder)
    (lines,) = (block.strip().splitlines() for block in _blocks("sh") if "tune-ckpt demo" in block)
    for line in lines:
        command, _, remark = line.partition("  # ")
        with pytest.raises(SystemExit) as exited:
            main(shlex.split(command)[1:])
        assert (exited.value.code or 0) == ("exits with 1" in remark), capsys.readouterr().err
    assert (page.folder / "tried" / "sweep.html").exists()


def test_no_code_stands_where_it_is_not_run():
    kinds = re.findall(r"^```(\w*)$", README, re.MULTILINE)
    assert set(kinds) == {"", "python", "sh", "text"}
    assert [text.strip()[:7] for text in _blocks("text")] == ["Python "]  # what a benchmark printed


def test_the_two_commands_are_what_runs():
    example, test = (block.strip() for block in _blocks("sh") if "venv" in block)
    assert test in (REPO / ".ci" / "run").read_text()
    assert (REPO / example.split()[-1]).exists()


def test_what_is_added_to_code_that_trains_is_three_lines_at_most():
    examples = ("function_trainable", "torch_trainer_in_tune", "rllib_ppo_sweep")
    programs = [code for code in _blocks("python") if "tc.best_checkpoint(results" in code]
    programs += [(REPO / "examples" / f"{name}.py").read_text() for name in examples]
    for program in programs:
        trained, found, _ = program.partition("tc.best_checkpoint(")
        added = [line for line in trained.splitlines() if re.search(r"\btc\.", line.split("#")[0])]
        assert found
        assert len(added) + 1 <= 3, added
    assert len(programs) >= 5


def _table(title):
    rows = re.findall(r"^\|(.*)\|$", _section(title), re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in rows[2:]]


def test_each_row_against_ray_has_its_test():
    cells = [row[-1] for row in _table("## Why")]
    for cell in cells:
        if found := re.fullmatch(r"`(.+)::(.+)`", cell):
            tree = ast.parse((REPO / found[1]).read_text())
            assert found[2] in {getattr(node, "name", None) for node in tree.body}, cell
        else:
            assert cell == "[measured](#how-fast)"
    assert len(cells) > 10


@pytest.mark.parametrize("module", [tc, rllib], ids=["tune_ckpt", "tune_ckpt.rllib"])
def test_the_reference_has_every_public_name(module):
    first = [row[0] for row in _table(f"### {module.__name__}")]
    named = [name for cell in first for name in re.findall(r"`(\w+)`", cell)]
    assert set(named) == set(module.__all__)


def test_every_example_is_listed_and_exists():
    named = [row[0].strip("`") for row in _table("## Examples")]
    runnable = [path for path in (REPO / "examples").glob("*.py") if "__main__" in path.read_text()]
    assert sorted(named) == sorted(path.stem for path in runnable)


@pytest.mark.parametrize("name", ["LICENSE", "CHANGELOG.md"])
def test_files_that_are_promised_exist(name):
    assert Path(REPO / name).exists()
