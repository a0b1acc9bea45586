"""``tune-ckpt scan``."""

import pickle

import pytest

from tests.cli.conftest import Attack, without_escapes
from tune_ckpt.cli import output


@pytest.fixture
def attacked(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": Attack()}))
    return tmp_path


def test_a_dangerous_pickle_exits_with_1(tk, attacked):
    answer = tk("scan", attacked)
    assert answer.code == 1
    assert "dangerous\tposix:system\truns commands\ta.pkl\n" in answer.out
    assert "1 dangerous, 0 unknown" in answer.err


def test_an_unknown_name_is_no_reason_to_fail(tk, saved):
    answer = tk("scan", saved, "--json")
    assert answer.code == 0
    verdicts = {file["path"]: file["verdict"] for file in answer.json["files"]}
    assert verdicts["state.pkl"] == "harmless"
    assert verdicts["class_and_ctor_args.pkl"] == "unknown"


@pytest.mark.parametrize("watched", [True, False])
def test_who_watches_is_warned_before_the_answer(tk, attacked, terminal, monkeypatch, watched):
    terminal(80)
    monkeypatch.setattr(output, "is_terminal", lambda: watched)
    assert ("dangerous: a.pkl would import posix:system" in tk("scan", attacked).err) is watched


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_for_each_verdict_fits_the_terminal(tk, saved, terminal, columns):
    terminal(columns)
    lines = without_escapes(tk("scan", saved).out).splitlines()
    assert "unknown" in lines[0]
    assert max(map(len, lines)) <= columns
