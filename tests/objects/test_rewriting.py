"""Conversion on files alone."""

import pytest

import tune_ckpt as tc
from tests.agents import Agent, Secretive, same_agents, trained
from tune_ckpt.errors import CorruptDataError, UnsupportedStateError, UntrustedPickleError


def _bytes(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("in_place", [True, False])
def test_a_converted_tree_is_msgpack_and_equal(tmp_path, in_place):
    agent = trained()
    agent.save_to_path(tmp_path / "c")
    before = _bytes(tmp_path / "c")
    path = tmp_path / ("c" if in_place else "d")
    assert tc.convert_to_msgpack_checkpoint(tmp_path / "c", None if in_place else path) == str(path)
    assert not [file for file in path.rglob("*") if file.suffix == ".pkl"]
    assert tc.verify(path).ok
    assert same_agents(Agent.from_checkpoint(path), agent)
    assert in_place or _bytes(tmp_path / "c") == before


def test_converting_again_changes_nothing(tmp_path):
    trained().save_to_path(tmp_path / "c")
    tc.convert_to_msgpack_checkpoint(tmp_path / "c")
    before = _bytes(tmp_path / "c")
    tc.convert_to_msgpack_checkpoint(tmp_path / "c")
    assert _bytes(tmp_path / "c") == before


def test_a_source_that_cannot_be_converted_stays_as_it_is(tmp_path):
    Secretive().save_to_path(tmp_path / "c")
    before = _bytes(tmp_path / "c")
    with pytest.raises(UntrustedPickleError):
        tc.convert_to_msgpack_checkpoint(tmp_path / "c")
    with pytest.raises(UnsupportedStateError, match=r"textwrap\.TextWrapper"):
        tc.convert_to_msgpack_checkpoint(tmp_path / "c", allow_pickle=True)
    assert _bytes(tmp_path / "c") == before


def test_a_damaged_source_is_refused(tmp_path):
    trained().save_to_path(tmp_path / "c")
    (tmp_path / "c" / "model" / "state.pkl").write_bytes(b"")
    with pytest.raises(CorruptDataError, match=r"model/state\.pkl"):
        tc.convert_to_msgpack_checkpoint(tmp_path / "c", tmp_path / "d")
    assert not (tmp_path / "d").exists()
