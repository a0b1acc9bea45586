"""What goes wrong at the prompt: one clear message, what to do, and no traceback."""

import os
import sys

import pytest

import tune_ckpt as tc
from tests.agents import Secretive
from tests.sweep.folders import make_sweep
from tune_ckpt.cli import failing
from tune_ckpt.errors import NoCheckpointError
from tune_ckpt.tree.storage import retrying
from tune_ckpt.tree.storage.local import LocalStore


def _check(answer, code, *told):
    assert answer.code == code
    assert answer.out == ""
    assert answer.err.startswith("tune-ckpt: ")
    assert "Traceback" not in answer.err
    for words in told:
        assert words in answer.err


NOTHING = "nothing"


@pytest.mark.parametrize(
    "command",
    [
        ["ls"],
        ["best", "--metric", "x"],
        ["plot", "--metric", "x", "-o", "x.png"],
        ["convert"],
        ["upgrade", "new"],
        ["show"],
        ["scan"],
        ["clean"],
        ["weights", "-o", "w.npz"],
    ],
    ids=lambda command: command[0],
)
def test_a_wrong_path(tk, tmp_path, command):
    name, *options = command
    _check(tk(name, tmp_path / "none", *options), 2, f"{tmp_path / 'none'}", NOTHING)


def test_a_file_that_is_no_checkpoint(tk, tmp_path):
    (tmp_path / "notes.pkl").write_bytes(b"\x80\x05N.")
    _check(tk("show", tmp_path / "notes.pkl"), 2, "no state of RLlib's")


def test_a_wrong_path_to_diff(tk, saved, tmp_path):
    _check(tk("diff", saved, tmp_path / "none"), 2, NOTHING)


@pytest.mark.parametrize("command", ["show", "diff", "upgrade", "weights"])
def test_a_sweep_where_a_checkpoint_is_wanted(tk, sweep, saved, command):
    more = {"show": [], "diff": [saved], "upgrade": ["new"], "weights": ["-o", "w.npz"]}[command]
    _check(tk(command, sweep, *more), 2, "whole sweep's folder", f"tune-ckpt ls {sweep}")


def test_what_is_told_to_type_can_be_pasted(tk, sweep):
    sweep = sweep.rename(sweep.with_name("my sweep&more"))
    _check(tk("show", sweep), 2, f"tune-ckpt ls '{sweep}'")


def test_a_file_of_a_sweeps_is_no_sweep(tk, sweep):
    (state,) = sweep.glob("experiment_state-*.json")
    _check(tk("show", state), 2, f"{state} is not a checkpoint")


@pytest.mark.parametrize("options", [[], ["--metric", "eval/acc"]])
def test_no_checkpoints(tk, tmp_path, options):
    make_sweep(tmp_path / "s", deleted=[f"checkpoint_{n:06}" for n in range(3)])
    _check(tk("ls", tmp_path / "s", *options), 1, "No usable checkpoint")


@pytest.mark.parametrize("command", [["ls"], ["best"], ["plot", "-o", "x.png"]])
def test_an_unknown_metric_lists_the_nearest_first(tk, sweep, command):
    answer = tk(*command, sweep, "--metric", "eval/accuracy")
    _check(answer, 2, "'eval/accuracy'", "nearest first: eval/acc,")


def test_an_unknown_mode(tk, sweep):
    answer = tk("best", sweep, "--metric", "eval/acc", "--mode", "most")
    assert answer.code == 2
    assert answer.err.startswith("tune-ckpt: Invalid value for '--mode': 'most' is not one of 'm")


def test_an_unknown_component_lists_those_there_are(tk, saved):
    _check(tk("show", saved, "--component", "modle"), 2, "'modle'", "model")


def test_no_permission_to_read(tk, saved, request):
    tk("show", saved)  # all is imported while it may be
    request.getfixturevalue("nobody")
    _check(tk("show", saved), 1, "Permission denied", str(saved))


def test_no_permission_to_write(tk, plain):
    answer = tk("weights", plain, "-o", "/sys/w.npz")
    _check(answer, 1, "/sys/w.npz")
    assert "denied" in answer.err or "Read-only" in answer.err or "permitted" in answer.err


@pytest.mark.slow
def test_no_network(tk, monkeypatch):
    monkeypatch.setattr(retrying, "RETRY", retrying.Retry(0.5, first_delay=0.01))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    uri = "s3://bucket/sweep?endpoint_override=127.0.0.1%3A1&scheme=http&region=us-east-1"
    told = ("s3://bucket/sweep", "NETWORK_CONNECTION", "Is the network up")
    _check(tk("show", uri), 1, *told)


@pytest.mark.parametrize("uri", ["s3://", "s3:///sweep", "gs://"])
def test_a_uri_without_a_bucket(tk, uri):
    _check(tk("ls", uri), 1, "it names no bucket")


def test_first_contact_gives_up_soon_and_later_work_does_not():
    patient = retrying.RETRY
    with retrying.impatient():
        assert retrying.RETRY.deadline < 10 < patient.deadline
    assert retrying.RETRY is patient


@pytest.mark.parametrize("command", [["ls"], ["show"]])
def test_the_first_look_is_an_impatient_one(tk, saved, monkeypatch, command):
    deadlines = []
    looked = LocalStore.list
    monkeypatch.setattr(
        LocalStore, "list", lambda s: (deadlines.append(retrying.RETRY.deadline), looked(s))[1]
    )
    tk(*command, saved)
    assert deadlines[0] < retrying.RETRY.deadline


@pytest.mark.parametrize("command", [["show"], ["convert"], ["weights", "-o", "w.npz"]])
def test_a_damaged_file(tk, saved, command):
    state = saved / "model" / "state.pkl"
    state.write_bytes(state.read_bytes()[:-3])
    _check(tk(*command, saved), 3, "model/state.pkl", "use another checkpoint")


def test_an_unfinished_checkpoint(tk, saved):
    (saved / "metadata.json").unlink()
    _check(tk("convert", saved), 3, "unfinished")


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("safetensors.numpy", ["weights", "-o", "w.safetensors"]),
        ("matplotlib", ["plot", "--metric", "eval/acc", "-o", "x.png"]),
    ],
)
def test_a_missing_extra(tk, sweep, monkeypatch, module, command):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(sweep.parent)
    name, *options = command
    path = sweep if name == "plot" else tc.best_checkpoint(sweep, "eval/acc").path
    _check(tk(name, path, *options), 1, f"pip install {module.partition('.')[0]}")
    assert not os.path.exists(options[-1])


def test_a_pickle_that_nobody_trusts_tells_the_option(tk, tmp_path):
    Secretive().save_to_path(tmp_path / "c")
    answer = tk("convert", tmp_path / "c")
    _check(answer, 1, "textwrap:TextWrapper", "pass --allow-pickle;")


@pytest.mark.parametrize("arguments", [["--debug", "show"], ["show", "--debug"]])
def test_debug_raises_wherever_it_stands(tk, tmp_path, arguments):
    from tune_ckpt.cli import main

    with pytest.raises(tc.TuneCkptError):
        main([*arguments, str(tmp_path / "none")])


def test_a_defect_of_ours_is_told_as_one(tk, saved, monkeypatch):
    monkeypatch.setattr(tc, "describe", lambda *_, **__: {}["x"])
    _check(tk("show", saved), 1, "KeyError: 'x'. This is unexpected; --debug shows where")


def test_a_long_list_is_cut_short_but_for_the_advice():
    told = failing.message(NoCheckpointError("s", tuple(f"trial {n}" for n in range(100))))
    assert len(told.splitlines()) == 12
    assert told.endswith("and 90 more")


@pytest.mark.parametrize(
    "typed",
    [
        ["resume", "{sweep}", "tests.tune.resuming:Climber"],
        ["demo"],
        ["convert", "{sweep}", "--address", "auto"],
    ],
    ids=lambda typed: typed[0],
)
def test_a_command_that_needs_ray_tells_so(tk, sweep, monkeypatch, typed):
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = tk(*(word.format(sweep=sweep) for word in typed))
    assert answer.code == 1
    assert f"tune-ckpt {typed[0]}" in answer.err
    assert answer.err.endswith("needs ray[tune]: pip install 'ray[tune]'\n")
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["convert", "best"])
def test_a_folder_with_files_of_somebody_elses_is_not_written_to(tk, sweep, saved, command):
    mine = sweep.parent / "mine" / "metadata.json"
    mine.parent.mkdir()
    mine.write_text('{"title": "mine"}')
    typed = {
        "convert": [saved, mine.parent],
        "best": [sweep, "--metric", "eval/acc", "-o", mine.parent],
    }
    _check(
        tk(command, *typed[command]), 2, f"{mine.parent} is not a checkpoint, but holds metadata"
    )
    assert mine.read_text() == '{"title": "mine"}'
