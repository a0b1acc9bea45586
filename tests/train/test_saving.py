"""Several workers' parts become one tree: the same as if one worker had saved them all."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tune_ckpt as tc
from tests.agents import Weights
from tune_ckpt.errors import (
    IncompleteCheckpointError,
    InvalidArgumentError,
    NotACheckpointError,
    RestoreError,
    RestoreWarning,
    StorageError,
    WorkerFailedError,
)
from tune_ckpt.train import saving, session
from tune_ckpt.train.saving import Save
from tune_ckpt.tree.packing import pack_tree
from tune_ckpt.tree.snapshot import Arena


class Table:
    """What a Board is to workers, for workers that are threads."""

    def __init__(self, size):
        self.ranks = range(size)
        self.values = {}
        self.news = threading.Condition()

    def seat(self, rank):
        return Seat(self, rank)


class Seat:
    def __init__(self, table, rank):
        self.table, self.rank, self.ranks = table, rank, table.ranks

    def post(self, topic, value):
        with self.table.news:
            self.table.values[topic, self.rank] = value
            self.table.news.notify_all()

    def collect(self, topic, ranks):
        with self.table.news:
            keys = {(topic, rank) for rank in ranks}
            assert self.table.news.wait_for(lambda: keys <= self.table.values.keys(), 60)
            return {rank: self.table.values[topic, rank] for rank in ranks}


def save_together(path, given, format="msgpack", filesystem=None):
    """Save what each rank gives; return each rank's error, or None."""
    table = Table(len(given))

    def work(rank):
        save = Save.agreed(table.seat(rank), 1, given[rank])
        if save.is_empty:
            return None
        save.packed = pack_tree(save.component, format)
        try:
            save.write(str(path), filesystem)
        except (StorageError, WorkerFailedError) as error:
            return error
        return None

    with ThreadPoolExecutor(len(given)) as pool:
        return [*pool.map(work, range(len(given)))]


def part(rank, name, kind):
    if kind == "value":
        return f"{name} of {rank}"
    weights = Weights(2)
    weights.w = weights.w + rank + ord(name)
    return weights if kind == "object" else {"inner": weights, "and": rank}


KINDS = st.sampled_from(["value", "object", "objects"])
GIVEN = st.lists(st.dictionaries(st.sampled_from("abcd"), KINDS), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(kinds=GIVEN)
def test_the_tree_is_what_one_worker_would_save_of_all_parts(tmp_path_factory, kinds):
    folder = tmp_path_factory.mktemp("together")
    given = [
        {name: part(rank, name, kind) for name, kind in of_rank.items()}
        for rank, of_rank in enumerate(kinds)
    ]
    assert not any(save_together(folder / "c", given))
    union = {}
    for parts in given:
        union |= {name: parts[name] for name in parts if name not in union}  # the lowest rank's
    if not union:
        assert not (folder / "c").exists()
        return
    assert tc.verify(folder / "c").ok
    alone = tc.save(union, folder / "alone")
    assert tc.describe(folder / "c").digest == alone.digest


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_where_one_worker_fails_nothing_is_committed_and_none_waits(tmp_path, monkeypatch, failing):
    write = saving.write_components

    def write_or_fail(store, packed):
        if f"part_{failing}" in packed.components:
            raise StorageError(str(store.location), "write", "no space")
        return write(store, packed)

    monkeypatch.setattr(saving, "write_components", write_or_fail)
    errors = save_together(tmp_path / "c", [{f"part_{rank}": Weights(2)} for rank in range(3)])
    assert isinstance(errors[failing], StorageError)
    if failing != 0:
        assert (type(errors[0]), errors[0].rank) == (WorkerFailedError, failing)
    with pytest.raises((IncompleteCheckpointError, NotACheckpointError)):
        tc.load_state(tmp_path / "c")


def test_one_that_cannot_pack_its_share_is_told_to_the_one_that_commits(tmp_path):
    table = Table(2)
    with ThreadPoolExecutor(2) as pool:
        saves = [
            pool.submit(Save.agreed, table.seat(rank), 1, {f"part_{rank}": Weights(2)})
            for rank in range(2)
        ]
    first, second = (save.result() for save in saves)
    second.give_up()
    first.packed = pack_tree(first.component, "msgpack")
    with pytest.raises(WorkerFailedError, match="rank 1"):
        first.write(str(tmp_path / "c"))


def as_worker(rank, path, **options):
    """Restore as a worker of that rank does, which has a model and noise of its own."""
    worker = session.TrainSession.__new__(session.TrainSession)
    worker._rank = rank
    parts = {"model": Weights(2), f"noise_{rank}": Weights(2)}
    found = tc.restore(parts, path, exclude=worker.of_others(path, parts), **options)
    return parts, found


def with_noise(ranks):
    given = [{"model": Weights(2), f"noise_{rank}": Weights(2), "step": 3} for rank in ranks]
    for rank, parts in enumerate(given):
        parts[f"noise_{rank}"].w += rank + 1
    return given


def test_fewer_workers_than_before_take_what_is_theirs(tmp_path):
    save_together(tmp_path / "c", with_noise(range(2)))
    parts, found = as_worker(0, tmp_path / "c")
    assert parts["noise_0"].w.tolist() == with_noise([0])[0]["noise_0"].w.tolist()
    assert found["step"] == 3


def test_one_worker_more_than_before_is_told_what_it_lacks_and_may_begin_anew(tmp_path):
    save_together(tmp_path / "c", with_noise(range(2)))
    with pytest.raises(RestoreError, match="noise_2: missing"):
        as_worker(2, tmp_path / "c")
    with pytest.warns(RestoreWarning, match="noise_2"):
        parts, found = as_worker(2, tmp_path / "c", strict="warn")
    assert parts["noise_2"].w.tolist() == Weights(2).w.tolist()
    assert found["step"] == 3


def test_who_gave_what_is_in_the_metadata(tmp_path):
    save_together(tmp_path / "c", [{"model": Weights(2), f"rng_{rank}": rank} for rank in range(2)])
    assert (
        '"workers": {\n    "rng_0": [\n      0\n    ],'
        in (tmp_path / "c/metadata.json").read_text()
    )


def test_on_object_storage_it_is_the_same(tmp_path, s3, bucket):
    path, filesystem = f"{bucket}/run/checkpoint_1", s3.filesystem()
    parts = {name: Weights(2) for name in "abc"}
    errors = save_together(
        path, [{"a": parts["a"]}, {"b": parts["b"]}, parts], "pickle", filesystem
    )
    assert not any(errors)
    assert tc.verify(path, filesystem=filesystem).ok
    alone = tc.save(parts, tmp_path / "alone", format="pickle")
    assert tc.describe(path, filesystem=filesystem).digest == alone.digest


@pytest.mark.parametrize("mode", ["ASYNC", SimpleNamespace(value="NO_UPLOAD")])
def test_upload_modes_that_cannot_be_are_refused(mode):
    with pytest.raises(InvalidArgumentError, match=r"CheckpointUploadMode\.ASYNC"):
        session._mode({"checkpoint_upload_mode": mode})


def one_save():
    save = Save.agreed(Table(1).seat(0), 7, {"a": 1})
    save.packed = pack_tree(save.component, "msgpack")
    return save


def test_an_upload_that_never_happens_is_told_of_by_the_next_report():
    with pytest.raises(StorageError, match="report 7 has not ended"):
        one_save().wait(0.01)


@pytest.mark.parametrize("ending", ["write", "fail", "give up"])
def test_an_upload_that_ended_in_any_way_holds_up_nobody(tmp_path, ending):
    save = one_save()
    if ending == "write":
        save.write(str(tmp_path / "c"))
    if ending == "fail":
        (tmp_path / "file").touch()
        with pytest.raises(StorageError):
            save.write(str(tmp_path / "file" / "c"))
    if ending == "give up":
        save.give_up()
    save.wait(0.01)


def test_where_ray_refuses_a_report_the_next_one_need_not_wait(monkeypatch):
    def refuse(*args, **options):
        raise ValueError("no")

    save = one_save()
    worker = session.TrainSession.__new__(session.TrainSession)
    worker._board, worker._number, worker._name = save.board, 6, "run"
    worker._last, worker._arena = None, Arena()
    monkeypatch.setattr(session, "_report_uploading", refuse)
    monkeypatch.setattr(session, "_report_copied", refuse)
    mode = SimpleNamespace(value="ASYNC")
    with pytest.raises(ValueError, match="no"):
        worker.report({}, {"a": 1}, "msgpack", {}, 60.0, checkpoint_upload_mode=mode)
    worker._last.wait(0.01)
