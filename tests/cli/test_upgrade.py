"""``tune-ckpt upgrade``."""

import pytest

from tests.conftest import REPO
from tests.rllib.cases import one
from tune_ckpt.rllib import load_config, upgrade_checkpoint

OLD = REPO / "tests/data/rllib/ray2.10.0-py3.10-old-ppo-multi/checkpoint"


def test_it_prints_the_new_path_and_what_was_not_carried(tk, tmp_path):
    answer = tk("upgrade", OLD, tmp_path / "new")
    assert (answer.code, answer.out) == (0, f"{tmp_path / 'new'}\n")
    assert "note: config/env: the code of " in answer.err
    assert "MultiEnv was not carried; pass --env\n" in answer.err
    assert "; pass one to Algorithm.from_checkpoint\n" in answer.err
    assert len(answer.err.splitlines()) == len(upgrade_checkpoint(OLD, tmp_path / "same").notes)


def test_a_function_cannot_be_given_at_the_prompt(tk, tmp_path):
    old = one("ray2.60.0-py3.11-new-ppo-single-meanstd").path
    err = tk("upgrade", old, tmp_path / "new").err
    assert "(MeanStdFilter), and must be installed where the checkpoint is loaded\n" in err
    assert "config=" not in err


def test_its_answer_as_json(tk, tmp_path):
    answer = tk("upgrade", OLD, tmp_path / "new", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert (answer.json["src"], answer.json["dst"]) == (str(OLD), str(tmp_path / "new"))
    assert any(note.startswith("config/env: ") for note in answer.json["notes"])


def test_settings_are_json_or_text(tk, tmp_path):
    settings = ["lr=0.25", "num_workers=3", "framework=torch", 'model={"fcnet_hiddens": [8]}']
    options = [word for setting in settings for word in ("--config", setting)]
    answer = tk("upgrade", OLD, tmp_path / "new", "--env", "Mine-v0", *options)
    config = load_config(tmp_path / "new")
    assert (config["lr"], config["num_env_runners"], config["env"]) == (0.25, 3, "Mine-v0")
    assert (config["framework_str"], config["model"]) == ("torch", {"fcnet_hiddens": [8]})
    assert "config/env" not in answer.err


@pytest.mark.parametrize("typed", ["lr", "=1"])
def test_what_is_no_setting_is_told(tk, tmp_path, typed):
    answer = tk("upgrade", OLD, tmp_path / "new", "--config", typed)
    assert (answer.code, answer.out) == (2, "")
    assert f"--config {typed}: give a setting and its value, as lr=0.001" in answer.err


def test_the_old_folder_stays_as_it_is(tk):
    answer = tk("upgrade", OLD, OLD / "new")
    assert (answer.code, answer.out) == (2, "")
    assert f"it is in the checkpoint {OLD}" in answer.err
