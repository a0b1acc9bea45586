"""What a running sweep holds, and what of it may go."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from ray.train._internal import session

from tune_ckpt.tune import private
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.pruning_jobs import Found, Measured, prune
from tune_ckpt.tune.pruning_live import LivePruner
from tune_ckpt.tune.resuming.remembering import RememberingScheduler
from tune_ckpt.tune.retention import Retention


def test_nan_never_displaces_a_number():
    policy = Retention(keep_last=0, keep_best=1, metric="eval/m")
    pruner = LivePruner(policy)
    for number, value in enumerate([math.nan, 0.5, math.nan, None, "9"], 1):
        pruner.add("t", f"p{number}", {"eval": {"m": value}, "training_iteration": number})
    gone = {one.path for one, _ in pruner.take_doomed(set(), set())}
    assert gone == {"p1", "p3", "p4", "p5"}


@pytest.mark.parametrize(
    "pinned", [[1], range(2), np.array([1]), lambda result: result["best_so_far"]]
)
def test_pinned_ones_stay(pinned):
    pruner = LivePruner(Retention(keep_last=1, pinned=pinned, max_bytes=0))
    for number in (1, 2, 3):
        result = {"training_iteration": number, "best_so_far": number == 1}
        pruner.add("t", f"p{number}", result)
    assert [one.path for one, _ in pruner.take_doomed({"t"}, set())] == ["p2"]


def test_a_pinning_function_is_asked_of_results_only():
    pruner = LivePruner(Retention(keep_last=1, pinned=lambda result: result["acc"] > 0.5))
    pruner.note(Found("t", "p1", {}))  # a killed driver's, of which nothing is recorded
    pruner.add("t", "p2", {"acc": 0.9, "training_iteration": math.inf})
    pruner.add("t", "p3", {"acc": 0.1})
    assert [one.path for one, _ in pruner.take_doomed({"t"}, set())] == ["p1"]


def test_what_was_kept_after_all_is_looked_at_again():
    pruner = LivePruner(Retention())
    for name in ("p1", "p2"):
        pruner.add("t", name, {})
    ((gone, newest),) = pruner.take_doomed({"t"}, set())
    assert (gone.path, newest) == ("p1", "p2")
    other = LivePruner(Retention())
    other.set_state(pruner.get_state())  # a driver that was killed meanwhile
    assert [one.path for one, _ in other.take_doomed(set(), set())] == ["p1"]
    pruner.note(Outcome("p1", "delete", "skipped"))
    assert [one.path for one, _ in pruner.take_doomed({"t"}, set())] == ["p1"]


def _trial(name, status="RUNNING", latest=None, keep=None):
    """Return as much of one of Ray's trials as is looked at."""
    checkpoint = SimpleNamespace(path=latest)
    result = SimpleNamespace(checkpoint=checkpoint, metrics={}) if latest else None
    manager = SimpleNamespace(
        checkpoint_config=SimpleNamespace(num_to_keep=keep),
        _latest_checkpoint_result=result,
        _checkpoint_results=[],
    )
    storage = SimpleNamespace(
        trial_fs_path=f"/run/{name}", storage_filesystem=SimpleNamespace(type_name="local")
    )
    metadata = SimpleNamespace(checkpoint_manager=manager)
    return SimpleNamespace(trial_id=name, status=status, storage=storage, run_metadata=metadata)


def _jobs(pruner, *trials):
    return [(job.__name__, args[0]) for _, job, *args in pruner.take_jobs(trials)]


def test_what_a_killed_driver_had_not_noted_is_looked_for_and_may_go():
    pruner = LivePruner(Retention(keep_last=1, keep_best=1, metric="m"))
    pruner.add("t", "/run/t/checkpoint_000000", {"m": 5, "training_iteration": 1})
    resumed = LivePruner(pruner.policy)
    resumed.set_state(pruner.get_state())
    trial = _trial("t", latest="/run/t/checkpoint_000002")
    assert _jobs(resumed, trial) == [("survey", "t")]
    for number, value in enumerate([5, 1, 2]):
        name = f"/run/t/checkpoint_00000{number}"
        resumed.note(Found("t", name, {"m": value, "training_iteration": number + 1}))
    jobs = list(resumed.take_jobs([trial]))
    assert [(job, one.path, newest) for _, job, one, newest, _ in jobs] == [
        (prune, "/run/t/checkpoint_000001", "/run/t/checkpoint_000002")
    ]
    resumed.add("t", "/run/t/checkpoint_000003", {"m": 3, "training_iteration": 4})
    (gone,) = resumed.take_doomed({"t"}, set())
    assert (gone[0].path, gone[1]) == ("/run/t/checkpoint_000002", "/run/t/checkpoint_000003")


def test_a_trial_that_tune_restarted_under_another_id_is_a_finished_one():
    pruner = LivePruner(Retention(keep_last=1, max_bytes="1 GB"))
    for number in (1, 2):
        pruner.add("old", f"/run/old/checkpoint_00000{number}", {"training_iteration": number})
    resumed = LivePruner(pruner.policy)
    resumed.set_state(pruner.get_state())
    jobs = _jobs(resumed, _trial("new"))
    assert [job for job, _ in jobs] == ["survey", "measure", "measure", "prune"]
    assert jobs[-1][1].path == "/run/old/checkpoint_000001"


def test_so_are_all_where_no_state_was_kept_but_a_new_sweep_is_not_looked_through():
    pruner = LivePruner(Retention())
    latest = "/run/a/checkpoint_000000"
    assert _jobs(pruner, _trial("a", latest=latest), _trial("b")) == [("survey", "a")]
    assert _jobs(pruner, _trial("a", latest=latest), _trial("b")) == []
    pruner.add("b", "/run/b/checkpoint_000000", {})
    assert _jobs(pruner, _trial("b", latest="/run/b/checkpoint_000000")) == []


def test_sizes_are_asked_for_once_also_of_what_was_not_measured_before_a_kill():
    pruner = LivePruner(Retention(max_bytes=15))
    pruner.add("t", "/run/t/checkpoint_000000", {})
    resumed = LivePruner(pruner.policy)
    resumed.set_state(pruner.get_state())
    trial = _trial("t", latest="/run/t/checkpoint_000000")
    assert _jobs(resumed, trial) == [("survey", "t"), ("measure", "/run/t/checkpoint_000000")]
    assert _jobs(resumed, trial) == []


def test_a_size_that_could_not_be_measured_is_asked_for_again():
    pruner = LivePruner(Retention(max_bytes=15))
    pruner.add("t", "/run/t/checkpoint_000000", {})
    trial = _trial("t", latest="/run/t/checkpoint_000000")
    assert _jobs(pruner, trial) == [("measure", "/run/t/checkpoint_000000")]
    pruner.note(Outcome("/run/t/checkpoint_000000", "measure", "failed"))
    assert _jobs(pruner, trial) == [("measure", "/run/t/checkpoint_000000")]


def test_what_tune_itself_has_deleted_takes_no_room():
    pruner = LivePruner(Retention(metric="m", max_bytes=15))
    for number in (1, 2, 3):
        pruner.add("t", f"/run/t/p{number}", {"m": 9 - number})
        pruner.note(Measured(f"/run/t/p{number}", 10))
    finished = _trial("t", "TERMINATED", latest="/run/t/p3", keep=1)
    assert _jobs(pruner, finished) == []


def test_a_budget_that_what_must_stay_exceeds_is_reported():
    pruner = LivePruner(Retention(max_bytes="15 B", pinned=[1]))
    for number in (1, 2, 3):
        pruner.add("t", f"/run/t/p{number}", {"training_iteration": number})
        pruner.note(Measured(f"/run/t/p{number}", 10))
    trial = _trial("t", latest="/run/t/p3")
    list(pruner.take_jobs([trial]))
    (outcome,) = pruner.excess([trial])
    assert "the budget of 15 B is exceeded: 20 B must stay" in outcome.detail
    assert "needed to go on: 1, pinned: 1" in outcome.detail
    assert LivePruner(Retention(max_bytes="15 B")).excess([trial]) == []


def test_what_pbt_may_exploit_is_found(monkeypatch):
    class Future(session._FutureTrainingResult):
        def __init__(self):
            """It is the promise of nothing."""

        def resolve(self, block):
            assert not block
            return SimpleNamespace(checkpoint=SimpleNamespace(path="b"))

    kept = [SimpleNamespace(path="a"), None, Future()]
    states = {n: SimpleNamespace(last_checkpoint=one) for n, one in enumerate(kept)}
    scheduler = SimpleNamespace(_trial_state=states)
    wrapped = RememberingScheduler(SimpleNamespace(_base_scheduler=scheduler))
    asked = "tune_ckpt.tune.private.schedulers.controller"
    monkeypatch.setattr(asked, lambda: SimpleNamespace(_scheduler_alg=wrapped))
    assert private.exploitable() == {"a", "b"}
    monkeypatch.setattr(asked, lambda: None)
    assert private.exploitable() == set()
