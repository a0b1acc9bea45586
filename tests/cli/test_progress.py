"""Progress bars: on stderr, at a terminal only."""

import re

import pytest

import tune_ckpt as tc
from tests.cli.conftest import without_escapes
from tests.conftest import REPO
from tune_ckpt.cli import output
from tune_ckpt.tree.storage import traffic
from tune_ckpt.tree.storage.store import open_store

COMMANDS = {
    "Verifying": ["verify", "{saved}"],
    "Scanning": ["scan", "{saved}"],
    "Writing arrays": ["weights", "{saved}", "-o", "{new}.npz"],
    "Converting /": ["convert", "{saved}", "{new}"],
    "Upgrading": ["upgrade", "{old}", "{new}"],
    "Comparing": ["diff", "{saved}", "{saved}"],
    "Reading results": ["ls", "{sweep}"],
    "Verifying  ": ["ls", "{sweep}", "--metric", "eval/acc", "--verify"],
    "Exporting": ["best", "{sweep}", "--metric", "eval/acc", "-o", "{new}"],
    "Converting 4 checkpoints": ["convert", "{sweep}", "{new}", "-j", "1"],
    "Drawing": ["plot", "{sweep}", "--metric", "eval/acc", "-o", "{new}.svg"],
}
OLD = REPO / "tests/data/rllib/ray2.3.1-py3.8-old-ppo-single/checkpoint"


@pytest.mark.parametrize("told", COMMANDS)
@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_is_shown_to_who_watches(
    tk, saved, sweep, tmp_path, terminal, monkeypatch, told, watched
):
    terminal(120)
    monkeypatch.setattr(output, "is_terminal", lambda: watched)
    places = {"saved": saved, "sweep": sweep, "new": tmp_path / "new", "old": OLD}
    answer = tk(*(word.format(**places) for word in COMMANDS[told]))
    assert answer.code == 0
    assert (told in answer.err) is watched
    assert told not in answer.out


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_bar_takes_a_single_line_of_any_terminal(tk, saved, terminal, monkeypatch, columns):
    terminal(columns)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    told = tk("verify", saved).err
    assert "Veri" in told
    assert "\x1b[1A" not in told.rpartition("\n")[0]  # it would go back up to a line above
    lines = re.split(r"[\r\n]+", without_escapes(told))
    assert max(map(len, lines)) <= columns


def test_what_is_done_has_its_room_before_the_bar(tk, sweep, terminal, monkeypatch):
    terminal(60)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    told = without_escapes(tk("ls", sweep, "--metric", "eval/acc", "--verify").err)
    assert "Reading results" in told
    assert "KiB" in told  # as sizes are told everywhere else


def test_bytes_that_are_read_and_written_move_the_bar(saved, tmp_path):
    moved = []
    with traffic.heard(moved.append):
        tc.convert_checkpoint(saved, tmp_path / "new")
    nbytes = [open_store(path).total_nbytes() for path in (saved, tmp_path / "new")]
    assert sum(moved) >= sum(nbytes)
    count = len(moved)
    tc.verify(saved)
    assert len(moved) == count  # nobody listens any more
