"""What workers tell each other, and that none waits for ever for one that does not come."""

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tune_ckpt.errors import WorkerMissingError
from tune_ckpt.train import board
from tune_ckpt.train.board import Board

_NUMBERS = count(1, 100)  # of reports, for each test far from those of others


@pytest.fixture(scope="module")
def first(ray_session):
    """The worker whose board the others look for: a process, as long as it is there."""
    with pytest.MonkeyPatch.context() as named:
        named.setattr(board, "worker_group", lambda: __name__)
        yield Board(0, 3)


@pytest.fixture
def seats(first):
    """Three workers of one group, as threads."""
    first.timeout_secs = math.inf
    return [first, Board(1, 3), Board(2, 3)]


@pytest.fixture
def number():
    return next(_NUMBERS)


def together(*calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(*call) for call in calls]
        return [future.exception() or future.result() for future in futures]


def test_each_gets_what_all_have_posted(seats, number):
    def tell(seat):
        seat.post((number, "names"), seat.rank * 10)
        return seat.collect((number, "names"), seat.ranks)

    assert together(*[(tell, seat) for seat in seats]) == [{0: 0, 1: 10, 2: 20}] * 3


@pytest.mark.parametrize("missing", [0, 2])
def test_one_that_never_comes_is_named_when_the_time_is_up(seats, number, missing, monkeypatch):
    if missing == 0:
        monkeypatch.setattr(board, "worker_group", lambda: "of which nobody has made the board")
    there = [seat for seat in seats if seat.rank != missing]
    for seat in there:
        seat.timeout_secs = 0.5
    for error in together(*[(seat.meet, number) for seat in there]):
        assert isinstance(error, WorkerMissingError)
        assert error.ranks == [missing]
        assert f"rank {missing}" in str(error)


def test_those_who_wait_long_are_told_for_whom(seats, number, monkeypatch, caplog):
    monkeypatch.setattr(board, "_WARN_SECS", 0.01)
    seats[0].post((number, "names"), None)
    seats[0].timeout_secs = 0.2
    with caplog.at_level(logging.WARNING), pytest.raises(WorkerMissingError):
        seats[0].collect((number, "names"), seats[0].ranks)
    assert "rank 1, 2" in caplog.text


def test_one_that_is_late_is_waited_for(seats, number):
    def late(seat):
        board.ray.get(seats[0]._posted.collect.remote((number, "here"), [0, 1], 60.0))
        seat.meet(number)

    calls = [(seats[0].meet, number), (seats[1].meet, number), (late, seats[2])]
    assert together(*calls) == [None] * 3


def test_who_is_alone_needs_nobody():
    alone = Board(0, 1)
    alone.post((1, "names"), "value")
    assert alone.collect((1, "names"), alone.ranks) == {0: "value"}
    alone.meet(2)
