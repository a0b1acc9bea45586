"""Nodes that share S3 only: with actors far away, drained under a worker, killed under a trial."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPO

pytestmark = [pytest.mark.slow, pytest.mark.nightly]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    command = [sys.executable, "-m", "tests.nodes", str(tmp_path_factory.mktemp("nodes"))]
    run = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(next(line for line in run.stdout.splitlines() if line.startswith("{")))


@pytest.fixture
def preempted(found):
    if found["preempted"] is None:
        pytest.skip("this Ray announces no preemption")
    return found["preempted"]


def test_actors_on_another_node_never_need_the_path(found):
    assert found["actors"] == {"pickle": True, "msgpack": True}


def walk(seed, steps):
    rng, at = np.random.default_rng(seed), np.zeros(3)
    for _ in range(steps):
        at = at + rng.normal(size=3)
    return float(at.sum())


def test_before_a_preemption_one_checkpoint_is_saved_just_in_time(preempted):
    assert preempted["whole"] == [True]
    assert preempted["metrics"]["at"] == walk(5, preempted["steps"][0])


def test_before_a_preemption_each_worker_saves_what_is_its_own(preempted):
    (step,) = preempted["steps"]
    assert preempted["own"] == [[step, 2.0 * step]]


def test_workers_write_each_file_once_straight_to_the_storage(preempted):
    assert set(preempted["written"].values()) == {1}
    folders = {key.rpartition("/checkpoint_")[0] for key in preempted["written"]}
    assert folders == {"runs/train"}


def test_after_the_preemption_training_goes_on_elsewhere_from_there(preempted):
    node, step, at = preempted["last"]
    assert node != preempted["metrics"]["node"]
    assert int(step) + 1 == preempted["steps"][0] + 5
    assert float(at) == walk(5, int(step) + 1)


def test_a_sweep_completes_though_a_node_is_killed(found):
    swept = found["swept"]
    assert swept["errors"] == []
    assert [m["at"] for m in swept["metrics"]] == [
        walk(m["config"]["seed"], 5) for m in swept["metrics"]
    ]
    assert sorted(m["start"] for m in swept["metrics"]) == [0, 2]
    assert {m["node"] for m in swept["metrics"]}.isdisjoint(
        {swept["metrics"][0]["config"]["doomed"]}
    )


def test_the_best_checkpoint_is_whole_and_converted_on_the_storage(found):
    swept = found["swept"]
    value, again = swept["best"]
    assert value == again
    assert value == max(walk(seed, steps) for seed in (1, 2) for steps in range(1, 6))
    assert (swept["whole"], swept["converted"]) == (True, True)
