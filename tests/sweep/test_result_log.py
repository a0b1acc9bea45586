"""Results read by their bytes: the bound holds, nothing is read twice, and nothing stops it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_ckpt.errors import AmbiguousMetricError
from tune_ckpt.sweep.metrics import Metric
from tune_ckpt.sweep.notes import Notes
from tune_ckpt.sweep.result_log import NOTHING, UNKNOWN, ResultLog, bound_of
from tune_ckpt.tree.storage.store import open_store

NUMBERS = st.floats() | st.integers() | st.booleans()
VALUES = NUMBERS | st.sampled_from([None, "", "0.5", "]", [], [0.5], {"acc": 0.5}])
KEYS = st.sampled_from(["acc", "eval", "b", "a/b", "eval/acc", "val_acc", 'q"', "é", "config"])
INNER = st.dictionaries(KEYS, VALUES, max_size=3)
RESULTS = st.dictionaries(KEYS, VALUES | INNER, max_size=4)


@given(
    st.lists(RESULTS, max_size=3),
    st.sampled_from(["acc", "eval/acc", "a/b", "eval/a/b", "b", 'q"', "é"]),
    st.sampled_from(["max", "min"]),
)
def test_no_value_is_better_than_the_bound(results, name, mode):
    metric = Metric(name, mode)
    lines = [{**r, "training_iteration": n, "trial_id": "t"} for n, r in enumerate(results, 1)]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    log = ResultLog(_Memory(data), "t", Notes())
    bound, _ = log.bound(metric)
    for line in lines:
        try:
            value = metric.value(line)
        except AmbiguousMetricError:
            continue
        if value is not None:
            assert bound <= (metric.cost(value), line["training_iteration"], "t")


class _Memory:
    """A folder of one file."""

    def __init__(self, data):
        self.data = data

    def path(self, name):
        return name

    def open(self, name):
        from contextlib import nullcontext

        from tune_ckpt.formats.io import BytesSource

        return nullcontext(BytesSource(self.data))


LINE = b'{"acc": 0.5, "training_iteration": 3, "trial_id": "t1"}\n'


def test_the_bound_is_as_tight_as_the_best_line():
    better = b'{"acc": 0.75, "training_iteration": 4, "trial_id": "t1"}\n'
    assert bound_of(LINE + better, Metric("acc"), "t9") == (-0.75, 4, "t1")
    assert bound_of(LINE + better, Metric("acc", "min"), "t0") == (0.5, 3, "t0")


def test_other_names_and_other_kinds_of_values_do_not_count():
    data = b'{"val_acc": 9, "acc": NaN, "x": {"acc": null}, "y": {"acc": "8"}}\n'
    assert bound_of(data, Metric("acc"), "") == NOTHING


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "1e400", "1" * 400])
def test_numbers_beyond_all_floats_are_numbers(value):
    cost, *_ = bound_of(f'{{"acc": {value}}}\n'.encode(), Metric("acc", "min"), "")
    assert math.isinf(cost)


@pytest.mark.parametrize(
    "data",
    [
        *(LINE[:-3], LINE + LINE[:-3], LINE[:-3] + b"\n" + LINE, b"[" + LINE),
        *(b"\n", LINE + b"\n" + LINE, b"null\n", b'{"acc": 0.x5}\n'),
    ],
)
def test_of_broken_lines_nothing_is_known(data):
    assert bound_of(data, Metric("acc"), "") == UNKNOWN


class _Counting:
    """A store that counts what is read."""

    def __init__(self, store):
        self._store = store
        self.nbytes = 0

    def path(self, name):
        return self._store.path(name)

    def open(self, name):
        from contextlib import contextmanager

        @contextmanager
        def opened():
            with self._store.open(name) as source:
                read = source.read_into

                def counted(offset, *buffers):
                    self.nbytes += sum(buffer.nbytes for buffer in buffers)
                    read(offset, *buffers)

                source.read_into = counted
                yield source

        return opened()


def _looks(log):
    metric = Metric("acc")
    return log.bound(metric)[0][0], log.values(metric), dict(log.pairs())


def test_only_new_bytes_are_read(tmp_path):
    store = _Counting(open_store(tmp_path))
    log = ResultLog(store, "t", Notes())
    path = tmp_path / "result.json"
    path.write_bytes(LINE)
    assert _looks(log) == (-0.5, [0.5], {})
    assert store.nbytes == 3 * len(LINE)
    assert _looks(log) == (-0.5, [0.5], {})
    assert store.nbytes == 3 * len(LINE)
    saved = {"checkpoint_dir_name": "checkpoint_000000", "should_checkpoint": True}
    new = json.dumps({"acc": 0.7, **saved}).encode() + b"\n"
    path.write_bytes(LINE + new[:20])  # half-written
    assert log.values(Metric("acc")) == [0.5]
    path.write_bytes(LINE + new)
    bound, values, pairs = _looks(log)
    assert (bound, values, list(pairs)) == (-0.7, [0.5, 0.7], ["checkpoint_000000"])
    assert store.nbytes == 3 * len(LINE + new) + 20


def test_a_file_that_became_shorter_is_read_anew(tmp_path):
    log = ResultLog(open_store(tmp_path), "t", Notes())
    (tmp_path / "result.json").write_bytes(LINE + LINE)
    assert log.values(Metric("acc")) == [0.5, 0.5]
    (tmp_path / "result.json").write_bytes(LINE.replace(b"0.5", b"0.1"))
    assert _looks(log)[:2] == (-0.1, [0.1])


def test_a_file_that_vanished_is_noted(tmp_path):
    notes = Notes()
    log = ResultLog(open_store(tmp_path), "t", notes)
    assert log.bound(Metric("acc"))[0] == UNKNOWN
    assert list(log.results()) == []
    (line,) = notes.lines
    assert "result.json cannot be read" in line
