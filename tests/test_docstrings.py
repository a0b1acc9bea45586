"""What docstrings show is what runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.conftest import REPO
from tests.sweep.folders import make_sweep

RLLIB = REPO / "tests" / "data" / "rllib"

# These need a cluster: other tests run what they show.
ELSEWHERE = {
    "tune_ckpt.train.uploading.upload_as_msgpack": "tests/train/functions.py",
    "tune_ckpt.rllib.restoring.restore_algorithm.restore_algorithm": (
        "tests/rllib/test_restore_algorithm.py"
    ),
}


def _doctests():
    """Every docstring with an example, of the modules whose text has one: others are not loaded."""
    for module in pkgutil.walk_packages(tc.__path__, "tune_ckpt."):
        spec = module.module_finder.find_spec(module.name, None)
        if ">>> " in (REPO / spec.origin).read_text():
            found = doctest.DocTestFinder().find(importlib.import_module(module.name))
            yield from (test for test in found if test.examples)


DOCTESTS = {test.name: test for test in _doctests()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with what the examples open, and names that they use."""
    import torch

    folder = tmp_path_factory.mktemp("docstrings")
    (folder / "old_checkpoint").symlink_to(RLLIB / "ray2.10.0-py3.10-old-ppo-multi/checkpoint")
    (folder / "new_checkpoint").symlink_to(
        RLLIB / "ray2.60.0-py3.13-new-ppo-multi-msgpack/checkpoint"
    )
    for name, step in (("checkpoint", 7), ("newer", 8)):
        tc.save_state({"weights": np.ones((2, 3)), "step": step}, folder / name)
    agent = trained(step=7)
    agent.save_to_path(folder / "agent", use_msgpack=True)
    agent.save_to_path(folder / "pickled")
    make_sweep(folder / "sweep")
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters())
    tc.save({"model": model, "optimizer": optimizer, "step": 3}, folder / "run/3")
    names = {"np": np, "tc": tc, "agent": agent, "model": model, "optimizer": optimizer}
    return folder, {**names, "load_state": tc.load_state, "__name__": "__main__"}


@pytest.mark.parametrize("name", [name for name in DOCTESTS if name not in ELSEWHERE])
def test_an_example_runs(name, world, monkeypatch):
    folder, names = world
    monkeypatch.chdir(folder)
    test, told = DOCTESTS[name], []
    assert not any(example.options.get(doctest.SKIP) for example in test.examples)
    test.globs = {**test.globs, **names}
    failed, tried = doctest.DocTestRunner().run(test, out=told.append)
    assert not failed, "".join(told)
    assert tried == len(test.examples)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_needs_a_cluster_is_run_by_another_test(name):
    assert name in DOCTESTS
    assert name.rpartition(".")[2] in (REPO / ELSEWHERE[name]).read_text()


@pytest.mark.parametrize("name", ["best_checkpoint", "save", "restore", "load_state", "verify"])
def test_what_everyone_needs_shows_how(name):
    assert ">>> " in getattr(tc, name).__doc__
