"""Metrics by name: what counts as a value, and where a name leads."""

from __future__ import annotations

import decimal
import math

import numpy as np
import pytest

from tune_ckpt.errors import AmbiguousMetricError, InvalidArgumentError
from tune_ckpt.sweep.metrics import Metric, names, nearest_first, number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (True, 1.0),
        (False, 0.0),
        (np.float32(0.5), 0.5),
        (np.int64(-3), -3.0),
        (np.bool_(True), 1.0),
        (np.array(2.0), 2.0),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (10**400, math.inf),
        (-(10**400), -math.inf),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_numbers_are_values(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    "value",
    [None, math.nan, np.float64("nan"), "1.5", "null", [1], {}, 1j, np.ones(2), np.array("a")],
    ids=repr,
)
def test_everything_else_is_none(value):
    assert number(value) is None


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("acc", {"acc": 1}),
        ("eval/acc", {"eval": {"acc": 1}}),
        ("eval/acc", {"eval/acc": 1}),
        ("a/b/c", {"a": {"b": {"c": 1}}}),
        ("a/b/c", {"a/b": {"c": 1}}),
        ("a/b/c", {"a": {"b/c": 1}}),
        ("a/b/c", {"a": {"b": 0}, "a/b/c": 1}),
        ("/", {"": {"": 1}}),
    ],
)
def test_a_name_is_a_literal_key_or_a_path(name, metrics):
    assert Metric(name).value(metrics) == 1


@pytest.mark.parametrize("metrics", [{}, {"eval": 1}, {"eval": {"a": 1}}, {"eval": None}])
def test_a_name_may_lead_nowhere(metrics):
    assert Metric("eval/acc").find(metrics) is None


@pytest.mark.parametrize(
    "metrics",
    [{"a/b": 1, "a": {"b": 1}}, {"x": {"a/b": 1}, "x/a": {"b": 2}}],
    ids=["one level", "deeper"],
)
def test_a_name_that_fits_two_places_is_an_error(metrics):
    name = "a/b" if "a" in metrics else "x/a/b"
    with pytest.raises(AmbiguousMetricError, match=f"'{name}' is ambiguous in trial 7"):
        Metric(name).value(metrics, "trial 7")


def test_what_is_better():
    assert Metric("m", "max").better(2, 1)
    assert Metric("m", "min").better(1, 2)
    assert Metric("m", "min").better(1, None)
    assert not Metric("m").better(1, 1)
    assert Metric("m").better(math.inf, 1e308)


@pytest.mark.parametrize("mode", ["MAX", "best", "", None])
def test_only_two_modes_are_possible(mode):
    with pytest.raises(InvalidArgumentError, match="it may be: max, min"):
        Metric("m", mode)


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_metric_has_a_name(name):
    with pytest.raises(InvalidArgumentError, match="metric="):
        Metric(name)


def test_names_of_all_numbers():
    metrics = {
        "loss": 1.0,
        "text": "a",
        "nan": math.nan,
        "eval": {"acc": np.float32(1), "deep": {"x": 2}, "config": {"y": 1}},
        "config": {"lr": 0.1},
        "price": decimal.Decimal(1),
    }
    assert list(names(metrics)) == ["loss", "eval/acc", "eval/deep/x", "eval/config/y"]


def test_the_nearest_name_is_first():
    available = ["loss", "env_runners/episode_return_mean", "env_runners/num_episodes"]
    assert nearest_first("episode_reward_mean", available)[0] == "env_runners/episode_return_mean"
    assert nearest_first("Loss", available)[0] == "loss"
