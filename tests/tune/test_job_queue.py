"""The queue of jobs, and the worker that does them whatever becomes of its process."""

import functools
import math
import os
import re
import signal
import threading
import time

import pytest
import ray
from ray.exceptions import ActorUnavailableError

from tune_ckpt.tune import worker
from tune_ckpt.tune.job_queue import JobQueue
from tune_ckpt.tune.work import Work

SECS = 150  # what hangs shall fail


def _append(path, text):
    with open(path, "a") as file:
        file.write(text)
    return text


def test_the_queue_keeps_the_order_of_one_key_and_its_limit(tmp_path, ray_session):
    queue = JobQueue(2, lambda key, reason: f"lost {key}")
    for number in range(6):
        queue.add(str(number % 2), _append, str(tmp_path / str(number % 2)), str(number))
    results = list(queue.drain(math.inf))
    assert sorted(results) == list("012345")
    assert (tmp_path / "0").read_text() == "024"
    assert (tmp_path / "1").read_text() == "135"


def test_the_queue_says_which_job_was_lost(tmp_path, ray_session, monkeypatch):
    monkeypatch.setattr(worker, "_TRIES", 2)  # each costs a new process
    queue = JobQueue(1, lambda key, reason: f"lost {key}")
    queue.add("a", _die)
    queue.add("b", _append, "/dev/null", "done")
    queue.add("c", _die_once, tmp_path)
    queue.add("d", threading.Lock())  # cannot be sent
    queue.add_prepared("e", _append, _fail_softly)
    lost = ["lost a", "lost d", "lost e"]
    results = list(queue.drain(time.monotonic() + SECS))
    assert sorted(results) == ["done", "done once more", *lost]


def test_a_closed_queue_names_what_has_not_ended(ray_session):
    queue = JobQueue(1, lambda key, reason: f"lost {key}")
    queue.add("a", time.sleep, 1000)
    queue.add("b", _append, "/dev/null", "done")
    assert list(queue.drain(time.monotonic())) == []
    assert sorted(queue.close()) == ["a", "b"]
    assert len(queue) == 0


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(folder):
    if not (folder / "died").exists():
        (folder / "died").touch()
        _die()
    return "done once more"


def _fail_softly():
    raise OSError("planned")


class _Unreachable:
    """An actor's handle while Ray has not noticed yet that its node is gone."""

    def __init__(self):
        self.run = self.__ray_ready__ = self

    def remote(self, *args):
        raise ActorUnavailableError("the node is gone", bytes(16))


def test_jobs_wait_until_ray_has_started_their_worker_elsewhere(tmp_path, ray_session, monkeypatch):
    started = worker.Worker._running
    calls = iter(range(50))

    def unreachable_at_first(self):
        return _Unreachable() if next(calls, None) is not None else started(self)

    monkeypatch.setattr(worker, "_PAUSE_SECS", 0.01)
    monkeypatch.setattr(worker.Worker, "_running", unreachable_at_first)
    queue = JobQueue(2, lambda key, reason: f"lost {key}: {reason}")
    for name in "abcde":
        queue.add(name, _append, str(tmp_path / name), name)
    assert sorted(queue.drain(time.monotonic() + SECS)) == list("abcde")
    assert next(calls, None) is None
    queue.close()


def test_an_actor_that_is_gone_for_good_has_a_successor(tmp_path, ray_session):
    queue = JobQueue(1, lambda key, reason: f"lost {key}: {reason}")
    queue.add("a", _append, str(tmp_path / "a"), "first")
    assert list(queue.drain(time.monotonic() + SECS)) == ["first"]
    ray_session.kill(queue._worker._actor)
    queue.add("b", _append, str(tmp_path / "b"), "second")
    assert list(queue.drain(time.monotonic() + SECS)) == ["second"]
    queue.close()


@pytest.mark.parametrize("starts", [True, False])
def test_who_waits_for_a_worker_in_vain_is_freed_at_the_end(ray_session, monkeypatch, starts):
    asked = threading.Event()
    running = worker.Worker._running

    def in_vain(self):
        actor = _Unreachable() if starts else running(self)
        asked.set()
        return actor

    monkeypatch.setattr(worker.Worker, "_running", in_vain)
    monkeypatch.setattr(ray, "remote", functools.partial(ray.remote, resources={"nowhere": 1}))
    others = set(threading.enumerate())
    queue = JobQueue(1, lambda key, reason: f"lost {key}")
    queue.add("a", _append, "/dev/null", "done")
    assert asked.wait(SECS)
    assert list(queue.drain(time.monotonic())) == []
    assert queue.close() == ["a"]
    for thread in set(threading.enumerate()) - others:
        thread.join(SECS)
        assert not thread.is_alive()


def test_who_waits_for_jobs_sees_how_many_are_done(tmp_path, ray_session, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as at a terminal
    work = Work(1, [], None)
    work.drain("Completing", time.monotonic() + SECS)
    assert capsys.readouterr().err == ""  # nothing to wait for
    for name in "abc":
        work.add(name, _nothing)
    work.drain("Completing", time.monotonic() + SECS)
    work.close()
    seen = re.sub(r"\x1b\[.*?[a-zA-Z]", "", capsys.readouterr().err)
    assert re.search("Completing.*3/3", seen)


def _nothing():
    return []
