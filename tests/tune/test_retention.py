"""What a sweep keeps: the decision against a model, the deed, and real sweeps beside Ray's own."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

import tune_ckpt as tc
from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune import private
from tune_ckpt.tune.outcomes import Outcome
from tune_ckpt.tune.pruning import Pruner
from tune_ckpt.tune.pruning_jobs import Found, Measured, delete_whole, measure, prune, survey
from tune_ckpt.tune.resuming.remembering import Remembering
from tune_ckpt.tune.retention import Held, Retention, deletes_the_best, doomed

# ----------------------------------------------------------------------------------- the decision

VALUES = st.sampled_from([None, -math.inf, 0.0, 1.0, 2.0, math.inf])
HELD = st.builds(
    dict,
    trial=st.sampled_from("abc"),
    iteration=st.integers(1, 6),
    value=VALUES,
    is_pinned=st.booleans(),
    nbytes=st.sampled_from([None, 0, 10, 30]),
)
POLICIES = st.builds(
    Retention,
    keep_last=st.integers(0, 3),
    keep_best=st.integers(0, 3),
    metric=st.just("m"),
    mode=st.sampled_from(["max", "min"]),
    keep_every=st.sampled_from([None, 2]),
    max_bytes=st.sampled_from([None, 0, 25, 60]),
)


@given(POLICIES, st.lists(HELD, max_size=8), st.sets(st.sampled_from("abc")), st.data())
def test_the_decision_is_that_of_a_model(policy, facts, live, data):
    held = [Held(path=f"p{n}", order=n, **fact) for n, fact in enumerate(facts)]
    in_use = data.draw(st.sets(st.sampled_from([one.path for one in held] or [""])))
    sign = -1 if policy.mode == "max" else 1

    def worth(one):  # the lower, the better
        return (one.value is None, sign * (one.value or 0), -one.order)

    safe, wanted = set(), set()
    for trial in "abc":
        own = [one for one in held if one.trial == trial]
        newest = sorted(own, key=lambda one: -one.order)
        wanted |= {*newest[: policy.keep_last], *sorted(own, key=worth)[: policy.keep_best]}
        wanted |= {one for one in own if policy.keep_every and one.iteration % 2 == 0}
        safe |= set(newest[:1]) if trial in live else set()
    safe |= {one for one in held if one.is_pinned or one.path in in_use}
    room = (math.inf if policy.max_bytes is None else policy.max_bytes) - _size(safe)
    kept = set(safe)
    for one in sorted(wanted - safe, key=worth):
        room -= one.nbytes or 0
        if room < 0:
            break
        kept.add(one)
    assert set(doomed(policy, held, live, in_use)) == set(held) - kept


def _size(held):
    return sum(one.nbytes or 0 for one in held)


def _held(*values, trial="t"):
    return [Held(f"{trial}{n}", trial, n, n + 1, value) for n, value in enumerate(values)]


def test_nan_never_displaces_a_number():
    policy = Retention(keep_last=0, keep_best=1, metric="eval/m")
    pruner = Pruner(policy)
    for number, value in enumerate([math.nan, 0.5, math.nan, None, "9"], 1):
        pruner.add("t", f"p{number}", {"eval": {"m": value}, "training_iteration": number})
    gone = {one.path for one, _ in pruner.take_doomed(set(), set())}
    assert gone == {"p1", "p3", "p4", "p5"}


def test_the_budget_is_the_whole_sweeps_and_the_best_are_kept():
    policy = Retention(keep_last=9, metric="m", max_bytes="30 B")
    held = [*_held(1.0, 9.0, trial="a"), *_held(8.0, 2.0, trial="b")]
    held = [Held(**{**vars(one), "nbytes": 10}) for one in held]
    assert [one.path for one in doomed(policy, held)] == ["a0"]
    assert [one.path for one in doomed(policy, held, live={"a", "b"})] == ["a0"]
    assert {one.path for one in doomed(Retention(max_bytes=0), held, {"a"}, {"b0"})} == {"a0", "b1"}


@pytest.mark.parametrize("pinned", [[1], lambda result: result["best_so_far"]])
def test_pinned_ones_stay(pinned):
    pruner = Pruner(Retention(keep_last=1, pinned=pinned, max_bytes=0))
    for number in (1, 2, 3):
        result = {"training_iteration": number, "best_so_far": number == 1}
        pruner.add("t", f"p{number}", result)
    assert [one.path for one, _ in pruner.take_doomed({"t"}, set())] == ["p2"]


def test_what_was_kept_after_all_is_looked_at_again():
    pruner = Pruner(Retention())
    for name in ("p1", "p2"):
        pruner.add("t", name, {})
    ((gone, newest),) = pruner.take_doomed({"t"}, set())
    assert (gone.path, newest) == ("p1", "p2")
    other = Pruner(Retention())
    other.set_state(pruner.get_state())  # a driver that was killed meanwhile
    assert [one.path for one, _ in other.take_doomed(set(), set())] == ["p1"]
    pruner.ended(Outcome("p1", "delete", "skipped"))
    assert [one.path for one, _ in pruner.take_doomed({"t"}, set())] == ["p1"]


def _trial(name, status="RUNNING", latest=None):
    """Return as much of one of Ray's trials as is looked at."""
    result = SimpleNamespace(checkpoint=SimpleNamespace(path=latest)) if latest else None
    manager = SimpleNamespace(latest_checkpoint_result=result)
    storage = SimpleNamespace(
        trial_fs_path=f"/run/{name}", storage_filesystem=SimpleNamespace(type_name="local")
    )
    metadata = SimpleNamespace(checkpoint_manager=manager)
    return SimpleNamespace(trial_id=name, status=status, storage=storage, run_metadata=metadata)


def _jobs(pruner, *trials):
    return [(job.__name__, args[0]) for _, job, *args in pruner.take_jobs(trials)]


def test_what_a_killed_driver_had_not_noted_is_looked_for_and_may_go():
    pruner = Pruner(Retention(keep_last=1, keep_best=1, metric="m"))
    pruner.add("t", "/run/t/checkpoint_000000", {"m": 5, "training_iteration": 1})
    resumed = Pruner(pruner.policy)
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


def test_so_are_all_where_no_state_was_kept_but_a_new_sweep_is_not_looked_through():
    pruner = Pruner(Retention())
    latest = "/run/a/checkpoint_000000"
    assert _jobs(pruner, _trial("a", latest=latest), _trial("b")) == [("survey", "a")]
    assert _jobs(pruner, _trial("a", latest=latest), _trial("b")) == []
    pruner.add("b", "/run/b/checkpoint_000000", {})
    assert _jobs(pruner, _trial("b", latest="/run/b/checkpoint_000000")) == []


def test_a_survey_tells_each_checkpoint_with_its_metrics(tmp_path):
    trial = tmp_path / "T_abcde_00000_0"
    for number in range(2):
        (trial / f"checkpoint_00000{number}").mkdir(parents=True)
    line = {"m": 7, "training_iteration": 2, "checkpoint_dir_name": "checkpoint_000001"}
    (trial / "result.json").write_text(json.dumps(line) + "\n")
    first, second = survey("t", str(trial))
    assert (first.path, first.metrics) == (f"{trial}/checkpoint_000000", {})
    assert (second.path, second.metrics) == (f"{trial}/checkpoint_000001", line)
    assert survey("t", str(tmp_path / "nowhere")) == []


def test_sizes_are_asked_for_once_also_of_what_was_not_measured_before_a_kill():
    pruner = Pruner(Retention(max_bytes=15))
    pruner.add("t", "/run/t/checkpoint_000000", {})
    resumed = Pruner(pruner.policy)
    resumed.set_state(pruner.get_state())
    trial = _trial("t", latest="/run/t/checkpoint_000000")
    assert _jobs(resumed, trial) == [("survey", "t"), ("measure", "/run/t/checkpoint_000000")]
    assert _jobs(resumed, trial) == []


def test_a_budget_that_what_must_stay_exceeds_is_reported():
    pruner = Pruner(Retention(max_bytes="15 B", pinned=[1]))
    for number in (1, 2, 3):
        pruner.add("t", f"/run/t/p{number}", {"training_iteration": number})
        pruner.note(Measured(f"/run/t/p{number}", 10))
    trial = _trial("t", latest="/run/t/p3")
    list(pruner.take_jobs([trial]))
    (outcome,) = pruner.excess([trial])
    assert "the budget of 15 B is exceeded: 20 B must stay" in outcome.detail
    assert "needed to go on: 1, pinned: 1" in outcome.detail
    assert Pruner(Retention(max_bytes="15 B")).excess([trial]) == []


@pytest.mark.parametrize(
    "options",
    [
        {"keep_best": 1},
        {"keep_last": -1},
        {"keep_best": "2", "metric": "m"},
        {"keep_every": 0},
        {"metric": "m", "mode": "most"},
        {"max_bytes": "50 GBit"},
        {"max_bytes": "much"},
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options):
    with pytest.raises(InvalidArgumentError):
        Retention(**options)


@pytest.mark.parametrize(
    ("size", "nbytes"),
    [("50 GB", 50e9), ("1.5GiB", 1.5 * 2**30), ("7", 7), (1_000, 1000), ("2 kb", 2000)],
)
def test_sizes(size, nbytes):
    assert Retention(max_bytes=size).budget_nbytes == nbytes


# ----------------------------------------------------------------------------------- the deletion


def test_a_checkpoint_goes_with_its_conversion_and_whatever_else_is_in_it(tmp_path):
    for folder in ("checkpoint_000000", "msgpack/checkpoint_000000", "checkpoint_000001"):
        tc.save_state({"w": np.ones(3)}, tmp_path / folder)
    (tmp_path / "checkpoint_000000/more.txt").write_text("x")
    one = Held(str(tmp_path / "checkpoint_000000"), "t", 0)
    (outcome,) = prune(one, str(tmp_path / "checkpoint_000001"))
    assert (outcome.status, outcome.checkpoint) == ("done", one.path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint_000001", "msgpack"]
    assert not list((tmp_path / "msgpack").iterdir())
    (tmp_path / "msgpack").rmdir()
    prune(Held(str(tmp_path / "checkpoint_000001"), "t", 0), None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["altered", "empty", "gone"])
def test_nothing_goes_while_the_newest_is_damaged(tmp_path, damage):
    for number in range(2):
        tc.save_state({"w": np.ones(3)}, tmp_path / f"checkpoint_00000{number}")
    newest = tmp_path / "checkpoint_000001"
    for file in newest.iterdir():
        file.write_bytes(b"x") if damage == "altered" else file.unlink()
    if damage == "gone":
        newest.rmdir()
    (outcome,) = prune(Held(str(tmp_path / "checkpoint_000000"), "t", 0), str(newest))
    assert outcome.status == "skipped"
    assert "the newest of its trial is damaged" in outcome.detail
    assert tc.verify(tmp_path / "checkpoint_000000").ok


def test_another_librarys_checkpoint_is_out_of_sight_before_its_first_file_goes(
    tmp_path, monkeypatch
):
    folder = tmp_path / "checkpoint_000000"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"x")
    monkeypatch.setattr("shutil.rmtree", lambda path, **options: None)  # killed before
    delete_whole(str(folder))
    assert not folder.exists()
    monkeypatch.undo()
    folder.mkdir()
    delete_whole(str(folder))
    assert not list(tmp_path.iterdir())


def test_what_is_gone_already_is_no_failure(tmp_path):
    assert prune(Held(str(tmp_path / "c/d"), "t", 0), None)[0].status == "done"


def test_on_other_storage_the_metadata_goes_first(tmp_path, monkeypatch):
    from pyarrow import fs

    from tune_ckpt.tree.storage.arrow import ArrowStore

    filesystem = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    tc.save_state({"w": np.ones(3)}, "t/checkpoint_000000", filesystem=filesystem)
    assert measure("t/checkpoint_000000", filesystem)[0].nbytes > 100
    names, delete = [], ArrowStore.delete
    monkeypatch.setattr(
        ArrowStore, "delete", lambda self, name: names.append(name) or delete(self, name)
    )
    delete_whole("t/checkpoint_000000", filesystem)
    assert names[0] == "metadata.json"
    assert not (tmp_path / "t/checkpoint_000000").exists()


# -------------------------------------------------------------------------------- what Ray tells


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, None),
        ({"num_to_keep": 2}, "keeps the newest"),
        ({"num_to_keep": 2, "checkpoint_score_attribute": "eval/m"}, "nested"),
        ({"num_to_keep": 2, "checkpoint_score_attribute": "x"}, "its score is 'x'"),
        ({"num_to_keep": 2, "checkpoint_score_attribute": "m"}, "count as the best"),
    ],
)
def test_a_setting_of_tunes_that_deletes_the_best_is_told(options, told):
    reason = deletes_the_best(tune.CheckpointConfig(**options), Metric("m"))
    assert (reason is None) if told is None else (told in reason)


def test_what_pbt_may_exploit_is_found(monkeypatch):
    class Future:
        def resolve(self, block):
            assert not block
            return SimpleNamespace(checkpoint=SimpleNamespace(path="b"))

    kept = [SimpleNamespace(path="a"), None, Future()]
    states = {n: SimpleNamespace(last_checkpoint=one) for n, one in enumerate(kept)}
    scheduler = SimpleNamespace(_trial_state=states)
    wrapped = Remembering(SimpleNamespace(_base_scheduler=scheduler))
    asked = "tune_ckpt.tune.private.schedulers.controller"
    monkeypatch.setattr(asked, lambda: SimpleNamespace(_scheduler_alg=wrapped))
    assert private.exploitable() == {"a", "b"}
    monkeypatch.setattr(asked, lambda: None)
    assert private.exploitable() == set()


# ---------------------------------------------------------------------------------- real sweeps

SCORES = [0.1, 0.9, math.nan, 0.3, 0.2, 0.1]


class Nested(tune.Trainable):
    """Its metric is nested, as all of RLlib's are."""

    def step(self):
        return {"eval": {"score": SCORES[self.iteration]}}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "at.txt").write_text(str(self.iteration))

    def load_checkpoint(self, checkpoint):
        pass


def _sweep(tmp_path, callbacks=(), **checkpoints):
    run = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        stop={"training_iteration": len(SCORES)},
        verbose=0,
        callbacks=list(callbacks),
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, **checkpoints),
    )
    return tune.Tuner(Nested, run_config=run).fit()


def _kept(results):
    return [
        int(folder[-6:]) for folder in sorted(os.listdir(results[0].path)) if "checkp" in folder
    ]


@pytest.mark.slow
def test_ray_deletes_the_best_under_a_nested_score_and_we_keep_it(tmp_path, ray_session, caplog):
    theirs = _sweep(tmp_path / "ray", num_to_keep=2, checkpoint_score_attribute="eval/score")
    assert _kept(theirs) == [4, 5]  # the best was number 1
    retention = tc.Retention(keep_last=1, keep_best=2, metric="eval/score", keep_every=4)
    ours = _sweep(tmp_path / "ours", [tc.CheckpointCallback(retention=retention)])
    assert _kept(ours) == [1, 3, 5]
    assert tc.best_checkpoint(ours, "eval/score").value == 0.9
    report = json.loads(Path(ours.experiment_path, "tune_ckpt_report.json").read_text())
    rows = [row for row in report["outcomes"] if row["action"] == "delete"]
    assert {row["status"] for row in rows} == {"done"}
    deleted = [row["checkpoint"][-6:] for row in rows]
    assert sorted(deleted) == ["000000", "000002", "000004"]


@pytest.mark.slow
def test_tunes_own_setting_is_warned_of(tmp_path, ray_session, caplog):
    callback = tc.CheckpointCallback(retention=tc.Retention(keep_best=1, metric="eval/score"))
    _sweep(tmp_path, [callback], num_to_keep=5)
    assert "num_to_keep" in caplog.text


@pytest.mark.slow
def test_an_unknown_metric_is_refused_at_the_first_result(tmp_path, ray_session):
    callback = tc.CheckpointCallback(retention=tc.Retention(keep_best=1, metric="eval/scor"))
    with pytest.raises(Exception, match="nearest first: eval/score"):
        _sweep(tmp_path, [callback])


@pytest.mark.slow
def test_a_late_metric_may_be_allowed(tmp_path, ray_session):
    policy = tc.Retention(keep_last=1, keep_best=1, metric="late", late_metric=True)
    results = _sweep(tmp_path, [tc.CheckpointCallback(retention=policy)])
    assert _kept(results) == [5]


@pytest.mark.slow
def test_the_budget_holds_in_a_sweep(tmp_path, ray_session):
    policy = tc.Retention(keep_last=9, metric="eval/score", max_bytes=2)  # each takes one byte
    results = _sweep(tmp_path, [tc.CheckpointCallback(retention=policy)])
    assert _kept(results) == [1, 3]


class Climber(tune.Trainable):
    """Its value rises by its rate; it must find whatever checkpoint it is told to take over."""

    def setup(self, config):
        self.at = 0.0

    def step(self):
        meet = Path(self.config["log"]).parent  # two trials go on side by side
        meet.joinpath(f"{self.trial_id}-{self.iteration}").touch()
        while len(list(meet.glob(f"*-{self.iteration}"))) < 2:
            time.sleep(0.01)
        self.at += self.config["rate"]
        return {"at": self.at}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "at.txt").write_text(str(self.at))

    def load_checkpoint(self, checkpoint):
        self.at = float(Path(checkpoint, "at.txt").read_text())
        with open(self.config["log"], "a") as log:
            log.write(f"{self.trial_id} {checkpoint}\n")

    def reset_config(self, new_config):
        self.config, self.at = new_config, 0.0
        return True


@pytest.mark.slow
def test_what_pbt_exploits_is_there(tmp_path, ray_session):
    from ray.tune.schedulers import PopulationBasedTraining

    pbt = PopulationBasedTraining(
        metric="at",
        mode="max",
        time_attr="training_iteration",
        perturbation_interval=4,
        quantile_fraction=0.5,
        hyperparam_mutations={"rate": [0.1, 1.0, 2.0]},
    )
    policy = tc.Retention(keep_last=1)
    run = tune.RunConfig(
        name="run",
        storage_path=str(tmp_path),
        stop={"training_iteration": 16},
        verbose=0,
        callbacks=[tc.CheckpointCallback(retention=policy)],
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
    )
    config = tune.TuneConfig(scheduler=pbt, reuse_actors=True, max_concurrent_trials=2)
    log = tmp_path / "log"
    space = {"rate": tune.grid_search([0.1, 1.0]), "log": str(log)}
    results = tune.Tuner(Climber, param_space=space, run_config=run, tune_config=config).fit()
    assert not results.errors
    loaded = [line.split() for line in log.read_text().splitlines()]
    assert [path for trial, path in loaded if trial not in path]  # another one's was taken over
    assert [len(list(Path(r.path).glob("checkpoint_*"))) for r in results] == [1, 1]
