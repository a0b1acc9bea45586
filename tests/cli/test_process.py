"""The command as a process of its own: what it loads, what a pipe and a shell get."""

import json
import os
import subprocess
import sys

import numpy as np

import tune_ckpt as tc
from tests.conftest import REPO
from tests.sweep.folders import make_sweep

HEAVY = {"ray", "torch", "pandas", "pyarrow", "matplotlib"}
MAIN = "from tune_ckpt.cli import main; main()"


def _run(*arguments, code=MAIN, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPO), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _loaded_by(*arguments):
    code = (
        "import sys\nfrom tune_ckpt.cli import main\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    run = _run(*arguments, code=code)
    assert run.returncode == 0, run.stderr
    return set(run.stderr.split())


def test_help_loads_nothing_of_the_package_but_the_command():
    loaded = _loaded_by("--help")
    ours = {name for name in loaded if name.startswith("tune_ckpt.")}
    assert {name.split(".")[1] for name in ours} == {"cli", "version"}
    assert not loaded & {*HEAVY, "numpy", "msgpack"}


def test_help_fills_the_lines_of_any_terminal(tk, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    told = tk("resume", "-h").out
    assert "unless --portable is given: only for sweeps that you trust" in told


def test_the_version_is_told(tk):
    assert tk("--version").out == f"{tc.__version__}\n"


LOOKING = [
    *(["show", "{c}"], ["verify", "{c}"], ["scan", "{c}"], ["diff", "{c}", "{c}"]),
    *(["ls", "{s}", "--metric", "eval/acc"], ["best", "{s}", "--metric", "eval/acc"]),
    *(["weights", "{c}", "-o", "{c}.npz"], ["upgrade", "{old}", "{c}.new"]),
]


def test_looking_at_local_checkpoints_loads_neither_ray_nor_torch(saved, sweep):
    code = (
        "import json, sys\nfrom tune_ckpt.cli import main\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    try: main(arguments)\n"
        "    except SystemExit as done: assert not done.code, arguments\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    old = REPO / "tests/data/rllib/ray2.3.1-py3.8-old-ppo-single/checkpoint"
    places = {"c": saved, "s": sweep, "old": old}
    commands = [[word.format(**places) for word in command] for command in LOOKING]
    run = _run(json.dumps(commands), code=code)
    assert run.returncode == 0, run.stderr
    assert not set(run.stderr.split()) & HEAVY


def test_exit_codes_reach_the_shell(saved, tmp_path):
    run = _run("show", tmp_path / "none")
    assert (run.returncode, run.stderr.startswith("tune-ckpt: ")) == (2, True)
    (saved / "state.pkl").unlink()
    run = _run("verify", saved)
    assert (run.returncode, "it is missing" in run.stdout) == (3, True)


def test_a_pipe_that_is_closed_early_is_no_error(tmp_path):
    trials = {f"aaaaa_{n:05}": (n, [0.1]) for n in range(3)}
    sweep = make_sweep(tmp_path / "s", trials, deleted=())
    command = f"{sys.executable} -c '{MAIN}' ls {sweep} | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    run = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    assert run.stdout == "trial\titeration\tconfig\tcheckpoint\n"
    assert run.stderr == ""


def test_a_reader_who_has_left_is_no_error(saved):
    command = [sys.executable, "-c", MAIN, "show", str(saved)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as run:
        run.stdout.close()
        assert run.stderr.read() == b""


def test_letters_that_the_terminal_has_not_are_no_error(tmp_path):
    tc.save_state({"größe": np.zeros(3)}, tmp_path / "ü")
    run = _run("show", tmp_path / "ü", "--arrays", PYTHONIOENCODING="ascii")
    assert (run.returncode, run.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in run.stdout
    assert run.stdout.isascii()


def test_shells_can_complete_subcommands():
    environment = {"COMP_WORDS": "tune-ckpt ve", "COMP_CWORD": "1"}
    run = _run(_TUNE_CKPT_COMPLETE="complete_bash", **environment)
    assert run.stdout.split() == ["verify"]
