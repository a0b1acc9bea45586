"""Whoever gives something else than is wanted is told what it was, and what it may be."""

import re

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.conftest import REPO
from tests.sweep.folders import make_sweep
from tune_ckpt.errors import (
    ComponentNotFoundError,
    InvalidArgumentError,
    NotACheckpointError,
    NotInCheckpointError,
)

STATE = {"weights": np.zeros(2), "step": 1}


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("format", lambda: tc.save(STATE, "c", format="json")),
        ("format", lambda: tc.save_async(STATE, "c", format="json")),
        ("format", lambda: tc.save_state(STATE, "c", format="json")),
        ("state", lambda: tc.save_state([1, 2], "c")),
        ("parts", lambda: tc.save("c", STATE)),
        ("parts", lambda: tc.restore(["step"], "c")),
        ("parts", lambda: tc.restore(np.zeros(3))),
        ("parts", lambda: tc.report({"loss": 1.0}, np.zeros(3))),
        ("parts", lambda: tc.report({"loss": 1.0}, [], save=False)),
        ("strict", lambda: tc.restore(STATE, "c", strict="no")),
        ("path", lambda: tc.save_state(STATE, None)),
        ("path", lambda: tc.save_state(STATE, "")),
        ("path", lambda: tc.load_state(None)),
        ("tensors", lambda: tc.load_state("c", tensors="jax")),
        ("path", lambda: tc.describe(STATE)),
        ("path", lambda: tc.verify(3)),
        ("dst", lambda: tc.archive("c", "c.tar")),
        ("records", lambda: tc.average_checkpoints("c")),
        ("cls", lambda: tc.restore_object("c", trained())),
        ("kind", lambda: tc.register_adapter(trained(), vars, setattr)),
        ("experiment", lambda: tc.best_checkpoint(None, "loss")),
        ("k", lambda: tc.rank_checkpoints("c", "loss", k=1.5)),
        ("metric", lambda: tc.best_checkpoint("c")),
        ("opened", lambda: tc.Sweep("c")),
    ],
)
def test_the_argument_is_named(argument, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError) as caught:
        call()
    assert caught.value.argument == argument
    assert not [*tmp_path.iterdir()]


def test_whoever_takes_a_value_for_a_component_learns_where_it_is(tmp_path):
    tc.save_state(STATE, tmp_path / "c")
    with pytest.raises(ComponentNotFoundError, match="all is in its own state") as caught:
        tc.load_state(tmp_path / "c", "weights")
    assert str(caught.value).endswith("load_state(..., at='weights').")


def test_what_was_saved_by_names_is_no_object(tmp_path):
    tc.save(STATE, tmp_path / "c")
    with pytest.raises(NotInCheckpointError, match=r"tune_ckpt\.restore"):
        tc.restore_object(tmp_path / "c")


def test_ours_leads_from_rllibs_functions_to_where_it_is_read(tmp_path):
    trained().save_to_path(tmp_path / "c", use_msgpack=True)
    with pytest.raises(NotACheckpointError, match=r"tune_ckpt\.describe"):
        tc.get_checkpoint_info(tmp_path / "c")


def test_a_trials_folder_leads_to_its_checkpoints(tmp_path):
    make_sweep(tmp_path / "s")
    (trial, *_) = (path.parent for path in (tmp_path / "s").rglob("result.json"))
    with pytest.raises(NotACheckpointError, match="a trial's folder"):
        tc.load_state(trial)


def test_what_was_given_is_shortened(tmp_path):
    with pytest.raises(InvalidArgumentError) as caught:
        tc.save_state([*range(10_000)], tmp_path / "c")
    assert len(str(caught.value)) < 300


def test_rllibs_own_leads_to_where_it_is_read():
    theirs = REPO / "tests/data/rllib/ray2.3.1-py3.8-old-ppo-single/checkpoint"
    with pytest.raises(NotACheckpointError, match=re.escape("tune_ckpt.rllib")):
        tc.load_state(theirs)
