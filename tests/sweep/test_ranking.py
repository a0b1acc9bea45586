"""Scopes, filters, Pareto fronts, and the table that a ranking is."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tune_ckpt as tc
from tests.sweep.folders import A, B, C, function_trial, names, own_checkpoint
from tune_ckpt.errors import InvalidArgumentError, NoCheckpointError, UnknownMetricError

# ----------------------------------------------------------------------------------- brute force

VALUE = st.sampled_from([0, 1, 2, 3, math.nan, math.inf, None, "x"])
RESULT = st.fixed_dictionaries({"a": VALUE, "b": VALUE}, optional={"kept": st.just(False)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(RESULT, min_size=1, max_size=4), min_size=1, max_size=4), st.data())
def test_the_ranking_is_that_of_looking_at_everything(tmp_path, trials, data):
    shutil.rmtree(tmp_path)
    known = []
    for number, results in enumerate(trials):
        trial = f"aaaaa_{number:05}"
        folder = function_trial(tmp_path, trial, results)
        for iteration, result in enumerate(results, 1):
            if result.get("kept", True):
                known.append((trial, iteration, result))
            else:
                shutil.rmtree(folder / f"checkpoint_{iteration - 1:06}")
    modes = {"a": data.draw(st.sampled_from(["max", "min"])), "b": "min"}
    sign = -1 if modes["a"] == "max" else 1
    scored = [
        (sign * r["a"], iteration, trial, r["b"])
        for trial, iteration, r in known
        if isinstance(r["a"], int | float) and not math.isnan(r["a"])
    ]
    expected = [
        (trial, iteration) for _, iteration, trial, _ in sorted(scored, key=lambda s: s[:3])
    ]
    assert names(_ranked(tmp_path, metric="a", mode=modes["a"])) == expected
    both = [s for s in scored if isinstance(s[3], int | float) and not math.isnan(s[3])]
    front = {
        (trial, iteration)
        for a, iteration, trial, b in both
        if not any(x <= a and y <= b and (x, y) != (a, b) for x, _, _, y in both)
    }
    assert set(names(_ranked(tmp_path, metrics=modes))) == front


def _ranked(source, **options):
    try:
        return tc.rank_checkpoints(source, **options)
    except (NoCheckpointError, UnknownMetricError):
        return []


# ---------------------------------------------------------------------------------------- scopes


def _scored_trials(tmp_path):
    values = {
        A: [9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2],  # the best of all, the worst otherwise
        B: [0, 0, 0, 0, 0, 0, 0, 5, 5, 5, 5, 3],  # the best at its end
        C: [4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 4],  # the best on average, and the last
    }
    for trial, scores in values.items():
        function_trial(tmp_path, trial, [{"acc": score} for score in scores])
    return values


@pytest.mark.parametrize(
    ("scope", "trial", "iteration", "score"),
    [
        ("all", A, 1, 9),
        ("last", C, 12, 4),
        ("avg", C, 1, 44 / 12),
        ("last-5-avg", B, 12, 23 / 5),
        ("last-10-avg", C, 12, 36 / 10),
        (None, A, 1, 9),
    ],
)
def test_scopes(tmp_path, scope, trial, iteration, score):
    values = _scored_trials(tmp_path)
    best = tc.best_checkpoint(tmp_path, "acc", scope=scope)
    assert (best.trial_id, best.iteration) == (trial, iteration)
    assert best.score == pytest.approx(score)
    assert (best.scope, best.value) == (scope, values[trial][iteration - 1])


def test_scopes_of_the_lowest(tmp_path):
    _scored_trials(tmp_path)
    scores = {
        s: tc.best_checkpoint(tmp_path, "acc", "min", scope=s) for s in ("all", "avg", "last")
    }
    assert {s: (r.trial_id, r.score) for s, r in scores.items()} == {
        "all": (B, 0),
        "avg": (A, pytest.approx(21 / 12)),
        "last": (A, 2),
    }


def test_a_scope_counts_numbers_only_and_each_once(tmp_path):
    results = [{"acc": 0.5}, {"acc": math.nan}, {}, {"acc": 0.7, "training_iteration": 9}]
    function_trial(tmp_path, A, results)
    assert tc.best_checkpoint(tmp_path, "acc", scope="avg").score == pytest.approx(0.6)


def test_a_scope_counts_results_without_a_checkpoint(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 1}, {"acc": 3}])
    shutil.rmtree(folder / "checkpoint_000001")
    best = tc.best_checkpoint(tmp_path, "acc", scope="last")
    assert (best.iteration, best.value, best.score) == (1, 1, 3)


def test_a_scope_of_own_metadata_alone(tmp_path):
    for number, acc in enumerate([0.5, 0.9, 0.7]):
        own_checkpoint(tmp_path / f"t/checkpoint_{number:06}", {"acc": acc}, number + 1)
    assert tc.best_checkpoint(tmp_path, "acc", scope="last").value == 0.7


def test_within_a_trial_the_newest_or_the_best_is_first(tmp_path):
    function_trial(tmp_path, A, [{"acc": 1}, {"acc": 3}, {"acc": 2}])
    for scope, order in (("last", [3, 2, 1]), ("avg", [2, 3, 1])):
        ranked = tc.rank_checkpoints(tmp_path, "acc", scope=scope)
        assert [record.iteration for record in ranked] == order


# --------------------------------------------------------------------------------------- filters


def test_some_of_each_trial(tmp_path):
    function_trial(tmp_path, A, [{"acc": 9}, {"acc": 8}, {"acc": 7}])
    function_trial(tmp_path, B, [{"acc": 1}])
    assert names(tc.rank_checkpoints(tmp_path, "acc", per_trial=2)) == [(A, 1), (A, 2), (B, 1)]
    assert names(tc.rank_checkpoints(tmp_path, "acc", k=2, per_trial=1)) == [(A, 1), (B, 1)]


@pytest.mark.parametrize(
    "where",
    [{"model/lr": 2}, lambda r: r.config["model"]["lr"] == 2, lambda r: r.value < 5],
    ids=["config", "function", "value"],
)
def test_where(tmp_path, where):
    function_trial(tmp_path, A, [{"acc": 9}], config={"model": {"lr": 1}})
    function_trial(tmp_path, B, [{"acc": 1}], config={"model": {"lr": 2}})
    assert tc.best_checkpoint(tmp_path, "acc", where=where).trial_id == B


def test_where_compares_arrays_too(tmp_path):
    folder = function_trial(tmp_path, A, [{}], config={"layers": "[2 2]"})
    known = SimpleNamespace(path=str(folder / "checkpoint_000000"))
    metrics = {"acc": 0.5, "config": {"layers": np.array([2, 2])}}
    result = SimpleNamespace(path=str(folder), filesystem=None, best_checkpoints=[(known, metrics)])
    for layers in ([2, 2], np.array([2, 2])):
        assert tc.best_checkpoint(result, "acc", where={"layers": layers}).value == 0.5
    with pytest.raises(NoCheckpointError, match=r"no layers is 2; there are: array\(\[2, 2\]\)"):
        tc.best_checkpoint(result, "acc", where={"layers": 2})


def test_where_nothing_is_left_it_is_said(tmp_path):
    function_trial(tmp_path, A, [{"acc": 9}, {"acc": 8}])
    with pytest.raises(NoCheckpointError, match=r"where= refused all 2 checkpoint"):
        tc.best_checkpoint(tmp_path, "acc", where={"lr": 3})


def test_where_no_config_has_the_value_those_there_are_are_told(tmp_path):
    function_trial(tmp_path, A, [{"acc": 9}, {"acc": 8}], config={"lr": 0.1})
    function_trial(tmp_path, B, [{"acc": 7}], config={"lr": 0.3})
    with pytest.raises(NoCheckpointError, match=r"no lr is '0.3'; there are: 0.1, 0.3$"):
        tc.best_checkpoint(tmp_path, "acc", where={"lr": "0.3"})


def test_where_no_config_has_such_a_name_those_there_are_are_told_nested_ones_too(tmp_path):
    function_trial(tmp_path, A, [{"acc": 9}], config={"model": {"width": 1}, "lr": 0.1})
    with pytest.raises(InvalidArgumentError, match=r"where='width' .* be: model/width, lr\.$"):
        tc.best_checkpoint(tmp_path, "acc", where={"width": 1})


@pytest.mark.parametrize("where", ["lr=1", {"": 1}, {3: 1}], ids=repr)
def test_where_is_a_function_or_a_dict(tmp_path, where):
    function_trial(tmp_path, A, [{"acc": 9}])
    with pytest.raises(InvalidArgumentError, match=r"^where=.* a function of the record"):
        tc.best_checkpoint(tmp_path, "acc", where=where)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (lambda r: r.config["learning_rate"] == 1, "KeyError: 'learning_rate'"),
        (lambda r: r.lr == 1, "has no attribute 'lr'"),
        (lambda r: r["lr"] == 1, "not subscriptable"),
    ],
    ids=["key", "attribute", "item"],
)
def test_where_a_function_asks_for_what_is_not_there_it_is_told_what_is(tmp_path, where, told):
    function_trial(tmp_path, A, [{"acc": 9}])
    with pytest.raises(InvalidArgumentError, match=told) as caught:
        tc.best_checkpoint(tmp_path, "acc", where=where)
    assert "checkpoint_000000, where record.config has lr; record.metrics has" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "acc", "scope": "best"},
        {"metric": "acc", "per_trial": 0},
        {"metric": "acc", "metrics": {"acc": "max"}},
        {},
        {"metrics": {}},
        {"metrics": ["acc"]},
        {"metrics": {"acc": "most"}},
        {"metrics": {"acc": "max", "loss": "min"}, "scope": "last"},
    ],
)
def test_options_that_cannot_be(tmp_path, options):
    with pytest.raises(InvalidArgumentError):
        tc.rank_checkpoints(tmp_path, **options)


# ---------------------------------------------------------------------------------- Pareto fronts


def test_the_front_of_several_metrics(tmp_path):
    results = [(0.9, 30), (0.8, 20), (0.8, 25), (0.5, 10), (0.4, 10), (math.nan, 1)]
    for number, (acc, latency) in enumerate(results):
        function_trial(tmp_path, f"aaaaa_{number:05}", [{"acc": acc, "ms": latency}])
    front = tc.rank_checkpoints(tmp_path, metrics={"acc": "max", "ms": "min"})
    assert [tuple(record.values.values()) for record in front] == [(0.9, 30), (0.8, 20), (0.5, 10)]
    assert (front[0].metric, front[0].mode, front[0].value) == ("acc", "max", 0.9)


def test_what_is_deleted_dominates_nothing(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.9, "ms": 1}, {"acc": 0.8, "ms": 2}])
    shutil.rmtree(folder / "checkpoint_000000")
    front = tc.rank_checkpoints(tmp_path, metrics={"acc": "max", "ms": "min"})
    assert names(front) == [(A, 2)]
    assert "acc 0.9, ms 1.0, but its checkpoint was deleted" in front.explain()


# --------------------------------------------------------------------------------- tables and why


def _small_sweep(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.981}, {"acc": 0.5}], config={"<lr>": [1]})
    shutil.rmtree(folder / "checkpoint_000000")
    own_checkpoint(folder / "checkpoint_000002", {"acc": 0.25}, 3)
    return tc.rank_checkpoints(tmp_path, "acc")


def test_a_table_for_pandas(tmp_path):
    frame = _small_sweep(tmp_path).to_pandas()
    assert list(frame.columns) == (
        ["trial", "iteration", "acc", "config/<lr>", "nbytes", "format", "verified", "path"]
    )
    assert frame["iteration"].tolist() == [2, 3]
    assert frame["format"].tolist() == ["other", "msgpack"]
    assert frame["verified"].tolist() == [False, True]
    assert frame["nbytes"].tolist() == [_size(path) for path in frame["path"]]


def _size(folder):
    from pathlib import Path

    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def test_a_table_for_people(tmp_path):
    table = _small_sweep(tmp_path)
    for text, (row, trial) in product((str(table), table._repr_html_()), [("0.5", A), ("0.25", A)]):
        assert row in text
        assert trial in text
    assert "<lr>" in str(table)
    assert "&lt;lr&gt;=[1]" in table._repr_html_()
    assert "acc (max)" in str(table)
    assert repr(table[:1]) == f"<CheckpointTable of 1: acc (max) in {tmp_path}>"


def test_a_table_shows_of_the_configs_what_is_not_the_same_in_all(tmp_path):
    for trial, rate in ((A, 0.1), (B, 0.2)):
        config = {"data": {"folder": "x" * 60}, "lr": rate}
        function_trial(tmp_path, trial, [{"acc": rate}], config=config)
    text = str(tc.rank_checkpoints(tmp_path, "acc"))
    assert "lr=0.2" in text
    assert "folder" not in text


def test_brackets_in_a_table_are_no_markup(tmp_path):
    function_trial(tmp_path / "[bold]run", A, [{"[acc]": 0.5}], config={"act": "[relu]"})
    config = {"layers": "[/64]"}
    function_trial(tmp_path / "[bold]run", B, [{"[acc]": 0.25}], config=config)
    text = str(tc.rank_checkpoints(tmp_path / "[bold]run", "[acc]"))
    title, header = text.splitlines()[0], text.splitlines()[2]
    assert "[acc] (max) in" in title
    assert "[bold]run" in title
    assert "[acc]" in header
    assert all(told in text for told in ("act=[relu]", "layers=[/64]", "[bold]run/train_"))


def test_a_table_tells_of_a_config_what_is_not_the_same_in_all_trials(tmp_path):
    many = {f"setting_{n}": n for n in range(50)}  # as RLlib's configs have them
    function_trial(tmp_path, A, [{"acc": 0.5}], config={**many, "model": {"lr": 0.1}})
    function_trial(tmp_path, B, [{"acc": 0.25}], config={"model": {"lr": 0.2}, **many})
    table = tc.rank_checkpoints(tmp_path, "acc", k=1)
    for text in (str(table), table._repr_html_(), table[0]._repr_html_()):
        assert "lr=0.1" in text
        assert "setting" not in text


def test_why_others_were_passed_over(tmp_path):
    table = _small_sweep(tmp_path)
    for told in (table.explain(), table[0].explain()):
        assert told.startswith(f"trial {A}, iteration 2 has acc 0.5: ")
        assert (
            "iteration 1 (checkpoint_000000) has acc 0.981, but its checkpoint was deleted" in told
        )
        assert f"next best: trial {A}, iteration 3 has acc 0.25" in told


def test_better_results_that_have_no_checkpoint_are_told(tmp_path):
    function_trial(tmp_path, A, [{"acc": 0.9}, {"acc": 0.1}], checkpoints=False)
    function_trial(tmp_path, B, [{"acc": 0.5}])
    told = tc.best_checkpoint(tmp_path, "acc").explain()
    assert f"trial {A}, iteration 1 has acc 0.9, but no checkpoint of it is left" in told
    assert "0.1" not in told


def test_of_better_results_that_are_gone_the_best_of_a_trial_is_told(tmp_path):
    function_trial(tmp_path, A, [{"acc": 0.7}, {"acc": 0.9}, {"acc": 0.8}], checkpoints=False)
    function_trial(tmp_path, B, [{"acc": 0.5}])
    (gone,) = tc.best_checkpoint(tmp_path, "acc").better_but_gone()
    assert f"trial {A}, iteration 2 has acc 0.9" in gone
    assert gone.endswith("; nor of 2 more that were better")


def test_checkpoints_without_a_value_are_told_by_trial(tmp_path):
    function_trial(tmp_path, A, [{"acc": 0.5}, *[{"acc": math.nan}] * 12])
    (told,) = tc.best_checkpoint(tmp_path, "acc").passed_over
    expected = "12 checkpoints, at iterations 2, 3, 4, 5, 6, 7, 8, 9, and 4 more: acc is nan"
    assert told == f"trial {A}, {expected}"


def test_it_is_told_what_is_better_than_what(tmp_path):
    for trial in (A, B):
        function_trial(tmp_path, trial, [{"acc": 0.5, "ms": 2}])
    best = tc.best_checkpoint(tmp_path, "ms", "min")
    assert "the smallest ms is the best, over 2 trials" in best.explain()
    front = tc.rank_checkpoints(tmp_path, metrics={"acc": "max", "ms": "min"})
    assert "on the front of acc (max), ms (min) over 2 trials" in front[0].explain()


def test_a_record_is_sent_without_what_is_known_of_the_sweep(tmp_path):
    record = _small_sweep(tmp_path)[0]
    sent = pickle.loads(pickle.dumps(record))
    assert (sent.path, sent.ranking) == (record.path, None)
    assert sent.explain()


# ------------------------------------------------------------------------------- pinned copies


def _pin(sweep, trial, name, metrics):
    facts = {"metric": "acc", "mode": "max", "value": metrics["acc"], "trial_id": A}
    where = {"iteration": 1, "checkpoint": f"{trial}/{name}", "folder": "copy", "metrics": metrics}
    own_checkpoint(sweep / "best" / "copy", metrics, 1)
    (sweep / "best" / "best.json").write_text(json.dumps({**facts, **where}))


@pytest.mark.parametrize("logged", [True, False])
def test_a_pinned_copy_stands_for_a_checkpoint_that_was_deleted(tmp_path, logged):
    folder = function_trial(tmp_path, A, [{"acc": 0.9}, {"acc": 0.5}])
    shutil.rmtree(folder / "checkpoint_000000")
    if not logged:  # a class's results name no checkpoint
        lines = (folder / "result.json").read_text().splitlines()
        first = {k: v for k, v in json.loads(lines[0]).items() if k != "checkpoint_dir_name"}
        (folder / "result.json").write_text("\n".join([json.dumps(first), *lines[1:], ""]))
    _pin(tmp_path, folder.name, "checkpoint_000000", {"acc": 0.9, "training_iteration": 1})
    best, other = tc.rank_checkpoints(tmp_path, "acc")
    assert (best.value, best.path) == (0.9, str(tmp_path / "best" / "copy"))
    assert other.value == 0.5
    assert tc.best_checkpoint(folder, "acc").path == best.path
    (tmp_path / "best" / "best.json").write_text("{")
    assert tc.best_checkpoint(tmp_path, "acc").value == 0.5
    assert "best.json cannot be read" in tc.best_checkpoint(tmp_path, "acc").explain()


@pytest.mark.parametrize("left", [True, False])
def test_a_copy_of_what_was_written_again_since_is_a_checkpoint_of_its_own(tmp_path, left):
    folder = function_trial(tmp_path, A, [{"acc": 0.3}])
    function_trial(tmp_path, B, [{"acc": 0.5}])
    _pin(tmp_path, folder.name, "checkpoint_000000", {"acc": 0.9, "training_iteration": 1})
    if not left:
        shutil.rmtree(folder / "checkpoint_000000")
    ranked = tc.rank_checkpoints(tmp_path, "acc")
    assert [(record.value, record.path.endswith("best/copy")) for record in ranked] == [
        *((0.9, True), (0.5, False)),
        *([(0.3, False)] if left else []),
    ]


def test_a_train_runs_own_copy_counts(tmp_path):
    metrics = {"acc": 0.9, "training_iteration": 1}
    _pin(tmp_path / "run", "", "", metrics)
    told = json.loads((tmp_path / "run/best/best.json").read_text())
    (tmp_path / "run/best/best.json").write_text(json.dumps({**told, "checkpoint": "checkpoint_1"}))
    results = [{"checkpoint_dir_name": "checkpoint_1", "metrics": metrics}]
    snapshot = json.dumps({"checkpoint_results": results})
    (tmp_path / "run/checkpoint_manager_snapshot.json").write_text(snapshot)
    for experiment in (tmp_path, tmp_path / "run"):
        best = tc.best_checkpoint(experiment, "acc")
        assert (best.value, best.path) == (0.9, str(tmp_path / "run/best/copy"))


def test_a_checkpoint_that_is_there_is_preferred_to_its_copy(tmp_path):
    folder = function_trial(tmp_path, A, [{"acc": 0.9}])
    _pin(tmp_path, folder.name, "checkpoint_000000", {"acc": 0.9, "training_iteration": 1})
    assert [record.path for record in tc.rank_checkpoints(tmp_path, "acc")] == [
        str(folder / "checkpoint_000000")
    ]
