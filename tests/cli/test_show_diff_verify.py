"""``tune-ckpt show``, ``diff`` and ``verify``."""

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.cli.conftest import without_escapes
from tests.rllib.cases import one


def test_show_tells_the_tree(tk, saved):
    out = tk("show", saved).out
    assert "tests.agents:Agent  pickle" in out
    assert "head  tests.agents:Weights" in out
    assert "1 array, 3.9 KiB" in out
    assert "float64" not in out


def test_show_lists_all_arrays_when_asked(tk, tmp_path):
    tc.save_state({f"a{n}": np.zeros(n) for n in range(60)}, tmp_path / "c")
    out = tk("show", tmp_path / "c", "--arrays").out
    assert all(f"a{n} " in out for n in range(60))


def test_show_of_a_component(tk, saved):
    out = tk("show", saved, "--component", "model/head", "--arrays").out
    assert "float32" in out
    assert "Agent" not in out


def test_show_as_json(tk, saved):
    answer = tk("show", saved, "--json").json
    assert answer["description"] == tc.describe(saved).to_dict()
    assert answer["rllib"] is None


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("synthetic-v0.1-ray2.0-style-ppo-single", "0.1"),
        ("ray2.3.1-py3.8-old-ppo-single", "1.0"),
        ("ray2.24.0-py3.10-old-ppo-lstm", "1.1"),
        ("ray2.30.0-py3.10-new12-ppo-single", "1.2"),
        ("ray2.40.0-py3.10-new-ppo-single", "2.0"),
        ("ray2.60.0-py3.11-new-ppo-multi", "2.1"),
    ],
)
def test_show_of_rllibs_own(tk, corpus, name, version):
    answer = tk("show", corpus / name / "checkpoint", "--json").json
    assert answer["rllib"]["checkpoint_version"] == version
    assert answer["rllib"]["type"] == "Algorithm"
    assert "checkpoint_version" in tk("show", corpus / name / "checkpoint").out


def test_show_of_a_single_file_of_rllibs(tk, corpus):
    folder = corpus / "synthetic-v0.1-ray2.0-style-ppo-single" / "checkpoint"
    (file,) = [path for path in folder.glob("checkpoint-*") if path.suffix == ""]
    answer = tk("show", file, "--json").json
    assert answer["description"] is None
    assert answer["rllib"]["checkpoint_version"] == "0.1"


def test_show_of_rllibs_own_tells_spaces_and_one_counter_a_line(tk):
    lines = tk("show", one("ray2.10.0-py3.10-old-ppo-multi").path).out.splitlines()
    told = lines.index(f"{'spaces':<20}pol1: box (4,) float32 -> discrete 2")
    assert lines[told + 1] == f"{'':<20}pol2: box (4,) float32 -> discrete 2"
    assert lines[told + 2] == f"{'parameters':<20}pol1=251, pol2=251, without the optimizers"
    assert lines[told + 3] == f"{'counters':<20}training_iteration=1"
    assert f"{'':<20}num_env_steps_sampled=64" in lines[told + 4 :]


@pytest.mark.parametrize(
    "name", ["synthetic-v0.1-ray2.0-style-ppo-single", "ray2.3.1-py3.8-old-ppo-single"]
)
def test_show_of_a_component_that_rllibs_own_has_not(tk, corpus, name):
    answer = tk("show", corpus / name / "checkpoint", "--component", "nonsense")
    assert (answer.code, answer.out) == (2, "")
    assert "nonsense" in answer.err


def test_show_of_a_policys_id_tells_where_that_is(tk):
    answer = tk("show", one("ray2.10.0-py3.10-old-ppo-multi").path, "--component", "pol1")
    assert answer.code == 2
    assert answer.err.endswith("its components: policies. There is policies/pol1.\n")


def test_show_keeps_within_the_terminal(tk, corpus, terminal):
    terminal(80)
    out = tk("show", corpus / "ray2.60.0-py3.11-new-ppo-multi" / "checkpoint", "--arrays").out
    assert max(map(len, without_escapes(out).splitlines())) <= 80


@pytest.mark.parametrize("color", [True, False])
def test_colors_are_for_terminals_without_no_color(tk, saved, terminal, color):
    terminal(80, color=color)
    assert ("\x1b[36m" in tk("show", saved).out or "36m" in tk("show", saved).out) is color


def test_nothing_is_styled_in_a_pipe(tk, saved):
    assert "\x1b" not in tk("show", saved).out


def test_diff_exits_with_1_where_they_differ(tk, saved, tmp_path):
    trained(step=8).save_to_path(tmp_path / "d")
    answer = tk("diff", saved, tmp_path / "d", "--values")
    assert answer.code == 1
    assert "changed value step: 7 -> 8" in answer.out
    assert "by at most 1" in answer.out
    same = tk("diff", saved, saved)
    assert (same.code, same.out.splitlines()[-1]) == (0, "  equal")


def test_diff_of_names_with_empty_lines(tk, tmp_path):
    for step in (1, 2):
        tc.save_state({"a\n\nb": step}, tmp_path / str(step))
    answer = tk("diff", tmp_path / "1", tmp_path / "2")
    assert (answer.code, answer.err) == (1, "")
    assert "b: 1 -> 2" in answer.out


def test_diff_as_json(tk, saved, tmp_path):
    trained(step=8).save_to_path(tmp_path / "d")
    answer = tk("diff", saved, tmp_path / "d", "--json")
    assert answer.code == 1
    assert answer.json == tc.diff(saved, tmp_path / "d").to_dict()


def test_verify_of_the_folder_above_a_sweep_is_wrong_use(tk, sweep):
    answer = tk("verify", sweep.parent)
    assert answer.code == 2
    assert f"tune-ckpt verify {sweep}/*/checkpoint_*" in answer.out


def test_verify_reports_every_path_though_one_is_damaged(tk, saved, plain, tmp_path):
    (saved / "state.pkl").unlink()
    answer = tk("verify", saved, tmp_path / "none", plain)
    assert answer.code == 3
    assert "state.pkl: it is missing" in answer.out
    assert "nothing is there" in answer.out
    assert f"{plain}: verified" in answer.out


def test_verify_of_a_sweep_verifies_nothing_and_tells_how(tk, saved, sweep):
    answer = tk("verify", saved, f"{sweep}/")
    assert (answer.code, answer.out) == (2, "")
    assert f"tune-ckpt verify {sweep}/*/checkpoint_*" in answer.err
    assert f"tune-ckpt verify {sweep}/*/checkpoint_*" in tk("ls", sweep, "--verify").err


def test_verify_as_json(tk, saved, plain):
    (saved / "state.pkl").write_bytes(b"")
    answer = tk("verify", saved, plain, "--json")
    damaged, whole = answer.json
    assert (damaged["ok"], whole["ok"], answer.code) == (False, True, 3)
    assert damaged["faults"][0]["path"] == "state.pkl"


def test_verify_goes_on_where_storage_refuses(tk, plain):
    answer = tk("verify", "nosuch://bucket/c", plain)
    assert answer.code == 1  # nothing is damaged, and yet the answer is not yes
    assert f"{plain}: verified" in answer.out
    assert "nosuch" in answer.out
