"""``tune-ckpt clean``."""

import pytest

from tests.agents import trained


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_killed_writers_left_behind_goes_and_is_told(tk, sweep, options):
    (trial, *_) = sorted(sweep.glob("train_*"))
    left = trial / ".checkpoint_000001.tune_ckpt-0123abcd"
    left.mkdir()
    before = {*sweep.rglob("*")}
    answer = tk("clean", sweep, *options)
    assert answer.code == 0
    assert {*sweep.rglob("*")} == before - {left}
    if options:
        assert answer.json == {"path": str(sweep), "deleted": [str(left)]}
    else:
        assert (answer.out, answer.err) == (f"{left}\n", "1 leftover(s) deleted\n")


@pytest.mark.parametrize(("typed", "goes"), [([], False), (["--older-than-secs", 0], True)])
def test_without_a_lock_the_age_tells(tk, tmp_path, typed, goes):
    trained().save_to_path(tmp_path / "c")
    left = tmp_path / "c" / "state.0123abcd.pkl"
    left.write_bytes(b"")
    assert tk("clean", tmp_path, *typed).code == 0
    assert left.exists() is not goes
