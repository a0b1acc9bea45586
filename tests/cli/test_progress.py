"""Progress bars: on stderr, at a terminal only."""

import pytest

from tune_ckpt.cli import output

COMMANDS = {
    "Verifying": ["verify", "{saved}"],
    "Scanning": ["scan", "{saved}"],
    "Writing arrays": ["weights", "{saved}", "-o", "{new}.npz"],
    "Converting /": ["convert", "{saved}", "{new}"],
    "Comparing": ["diff", "{saved}", "{saved}"],
    "Reading results": ["ls", "{sweep}"],
    "Verifying  ": ["ls", "{sweep}", "--metric", "eval/acc", "--verify"],
    "Exporting": ["best", "{sweep}", "--metric", "eval/acc", "-o", "{new}"],
    "Converting 4 checkpoints": ["convert", "{sweep}", "{new}", "-j", "1"],
    "Drawing": ["plot", "{sweep}", "--metric", "eval/acc", "-o", "{new}.svg"],
}


@pytest.mark.parametrize("told", COMMANDS)
@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_is_shown_to_who_watches(
    tk, saved, sweep, tmp_path, terminal, monkeypatch, told, watched
):
    terminal(120)
    monkeypatch.setattr(output, "is_terminal", lambda: watched)
    places = {"saved": saved, "sweep": sweep, "new": tmp_path / "new"}
    answer = tk(*(word.format(**places) for word in COMMANDS[told]))
    assert answer.code == 0
    assert (told in answer.err) is watched
    assert told not in answer.out
