"""What workers tell each other, and that none waits for ever for one that does not come."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from tune_ckpt.errors import WorkerMissingError
from tune_ckpt.train import board
from tune_ckpt.train.board import Board


@pytest.fixture
def seats(ray_session, monkeypatch, request):
    """Three workers of one group, as threads."""
    monkeypatch.setattr(board, "worker_group", lambda: request.node.name)
    return [Board(rank, 3) for rank in range(3)]


def together(*calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(*call) for call in calls]
        return [future.exception() or future.result() for future in futures]


def test_each_gets_what_all_have_posted(seats):
    def tell(seat):
        seat.post((1, "names"), seat.rank * 10)
        return seat.collect((1, "names"), seat.ranks)

    assert together(*[(tell, seat) for seat in seats]) == [{0: 0, 1: 10, 2: 20}] * 3


@pytest.mark.parametrize("missing", [0, 2])
def test_one_that_never_comes_is_named_when_the_time_is_up(seats, missing):
    there = [seat for seat in seats if seat.rank != missing]
    for seat in there:
        seat.timeout_secs = 0.5
    for error in together(*[(seat.meet, 1) for seat in there]):
        assert isinstance(error, WorkerMissingError)
        assert error.ranks == [missing]
        assert f"rank {missing}" in str(error)


def test_those_who_wait_long_are_told_for_whom(seats, monkeypatch, caplog):
    monkeypatch.setattr(board, "_WARN_SECS", 0.01)
    seats[0].post((1, "names"), None)
    seats[0].timeout_secs = 0.2
    with caplog.at_level(logging.WARNING), pytest.raises(WorkerMissingError):
        seats[0].collect((1, "names"), seats[0].ranks)
    assert "rank 1, 2" in caplog.text


def test_one_that_is_late_is_waited_for(seats):
    def late(seat):
        board.ray.get(seats[0]._posted.collect.remote((1, "here"), [0, 1], 60.0))
        seat.meet(1)

    calls = [(seats[0].meet, 1), (seats[1].meet, 1), (late, seats[2])]
    assert together(*calls) == [None] * 3


def test_who_is_alone_needs_nobody():
    alone = Board(0, 1)
    alone.post((1, "names"), "value")
    assert alone.collect((1, "names"), alone.ranks) == {0: "value"}
    alone.meet(2)
