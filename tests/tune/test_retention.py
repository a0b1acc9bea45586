"""What a sweep keeps: the decision, against a model."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

import tune_ckpt as tc
from tune_ckpt.errors import InvalidArgumentError, UnknownMetricError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.tune.fates import Held, doomed
from tune_ckpt.tune.num_to_keep import reason_for_loss
from tune_ckpt.tune.retention import Retention

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


@given(POLICIES, st.lists(HELD, max_size=8), st.sets(st.sampled_from("abc")), st.data())
def test_nothing_goes_for_want_of_a_size_that_stays_when_it_is_known(policy, facts, live, data):
    held = [Held(path=f"p{n}", order=n, **fact) for n, fact in enumerate(facts)]
    sizes = {one.path: data.draw(st.sampled_from([0, 10, 30])) for one in held}
    known = [replace(one, nbytes=sizes[one.path]) if one.nbytes is None else one for one in held]
    now = {one.path for one in doomed(policy, held, live)}
    assert now <= {one.path for one in doomed(policy, known, live)}


def _size(held):
    return sum(one.nbytes or 0 for one in held)


def _held(*values, trial="t"):
    return [Held(f"{trial}{n}", trial, n, n + 1, value) for n, value in enumerate(values)]


def test_the_budget_is_the_whole_sweeps_and_the_best_are_kept():
    policy = Retention(keep_last=9, metric="m", max_bytes="30 B")
    held = [*_held(1.0, 9.0, trial="a"), *_held(8.0, 2.0, trial="b")]
    held = [Held(**{**vars(one), "nbytes": 10}) for one in held]
    assert [one.path for one in doomed(policy, held)] == ["a0"]
    assert [one.path for one in doomed(policy, held, live={"a", "b"})] == ["a0"]
    assert {one.path for one in doomed(Retention(max_bytes=0), held, {"a"}, {"b0"})} == {"a0", "b1"}


@pytest.mark.parametrize(
    "options",
    [
        {"keep_best": 1},
        {"keep_last": -1},
        {"keep_best": "2", "metric": "m"},
        {"keep_every": 0},
        {"keep_every": "2"},
        {"keep_last": True},
        *({"pinned": pinned} for pinned in (7, "best", "", b"7", ["1"], [1.5], [True], None)),
        {"metric": "m", "mode": "most"},
        {"max_bytes": "50 GBit"},
        {"max_bytes": "much"},
        {"max_bytes": "_ GB"},
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options):
    with pytest.raises(InvalidArgumentError):
        Retention(**options)


@pytest.mark.parametrize(
    ("size", "nbytes"),
    [("50 GB", 50e9), ("1.5GiB", 1.5 * 2**30), ("7", 7), ("1_000", 1000), ("2 kb", 2000)],
)
def test_sizes(size, nbytes):
    assert Retention(max_bytes=size).budget_nbytes == nbytes


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, None),
        ({"num_to_keep": 2}, "keeps the newest"),
        ({"num_to_keep": 2, "checkpoint_score_attribute": "eval/m"}, "nested"),
        ({"num_to_keep": 2, "checkpoint_score_attribute": "x"}, "its score is 'x'"),
        ({"num_to_keep": 2, "checkpoint_score_attribute": "m"}, None),
    ],
)
def test_a_setting_of_tunes_that_deletes_the_best_is_told(options, told):
    reason = reason_for_loss(tune.CheckpointConfig(**options), Metric("m"))
    assert (reason is None) if told is None else (told in reason)


@pytest.mark.parametrize(("result", "told"), [({"m": 1}, False), ({"x": 1}, True)])
def test_that_results_without_the_score_count_as_the_best_is_told_where_one_is(result, told):
    config = tune.CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="m")
    assert bool(reason_for_loss(config, Metric("m"), result)) == told


def _started(config):
    """Return as much of a started trial as is looked at."""
    manager = SimpleNamespace(checkpoint_config=config)
    return SimpleNamespace(run_metadata=SimpleNamespace(checkpoint_manager=manager))


@pytest.mark.parametrize(
    "options",
    [
        {"retention": Retention(keep_best=1, metric="eval/m")},
        {"retention": Retention(), "metric": "eval/m", "pin_best": True},
    ],
)
def test_tunes_own_setting_is_warned_of_once(caplog, options):
    callback = tc.CheckpointCallback(**options)
    for number in range(2):
        callback.on_trial_start(number, [], _started(tune.CheckpointConfig(num_to_keep=5)))
    assert [record.message.count("num_to_keep of Tune") for record in caplog.records] == [1]


RESULT = {"eval": {"score": 1.0}}


def test_an_unknown_metric_is_refused_at_the_first_result_unless_it_may_be_late():
    policy = Retention(keep_best=1, metric="eval/scor")
    with pytest.raises(UnknownMetricError, match="nearest first: eval/score"):
        tc.CheckpointCallback(retention=policy).on_trial_result(1, [], None, RESULT)
    late = tc.CheckpointCallback(retention=replace(policy, late_metric=True))
    late.on_trial_result(1, [], None, RESULT)
    assert late.outcomes == []


@pytest.mark.parametrize("options", [{"convert": "best"}, {"pin_best": True}])
def test_an_unknown_metric_of_the_callbacks_own_is_warned_of_once(caplog, options):
    callback = tc.CheckpointCallback(metric="eval/scor", **options)
    for iteration in (1, 2):
        callback.on_trial_result(iteration, [], None, RESULT)
    (record,) = caplog.records
    assert "nearest first: eval/score" in record.message


def test_a_metric_that_nothing_needs_and_later_results_are_not_asked_for(caplog):
    unused = tc.CheckpointCallback("all", metric="eval/scor")
    unused.on_trial_result(1, [], None, RESULT)
    begun, resumed = (tc.CheckpointCallback("best", metric="eval/score") for _ in range(2))
    begun.on_trial_result(1, [], None, RESULT)
    resumed.set_state(begun.get_state())
    for callback in (begun, pickle.loads(pickle.dumps(begun)), resumed):
        callback.on_trial_result(2, [], None, {"loss": 1.0})
        assert callback.outcomes == []
    assert not caplog.records
