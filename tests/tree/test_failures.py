"""Failures of remote storage: tried again until a deadline, then an error that names the file."""

import errno
from itertools import cycle, product

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs

import tune_ckpt as tc
from tests.agents import Agent, same_agents, trained
from tests.s3 import broken, cut, cut_answer, denied, slow_down
from tests.tree.killing import FaultyFilesystem
from tune_ckpt.errors import NotACheckpointError, StorageError
from tune_ckpt.tree.storage import retrying
from tune_ckpt.tree.storage.arrow_files import ArrowSource
from tune_ckpt.tree.storage.retrying import Retry, is_transient

REFUSED = {"cut": cut, "slow": slow_down, "broken": broken}
REFUSALS = pytest.mark.parametrize("fault", REFUSED.values(), ids=REFUSED)
FAULTY = {**REFUSED, "cut in the answer": cut_answer}


@pytest.fixture
def impatient(s3):
    """A filesystem whose own library tries once only: what is tried again is tried again by us."""
    return s3.filesystem(retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1))


@pytest.fixture
def saved(s3, bucket, impatient):
    path = f"{bucket}/c"
    trained(1, size=2**12).save_to_path(path, filesystem=impatient, use_msgpack=True)
    s3.quiet()
    return path


# ---------------------------------------------------------------------------------------- reading


# Every fault at one place, and one at every place; the answer to HEAD has no middle to be cut at.
READS = [
    *(("GET", "model/state", fault) for fault in FAULTY),
    *(("HEAD", "model/state", fault) for fault in REFUSED),
    *(("GET", "", "cut"), ("HEAD", "", "slow")),
    *(("GET", "metadata.json", "cut in the answer"), ("HEAD", "metadata.json", "broken")),
]


@pytest.mark.parametrize(("kind", "key", "fault"), READS)
def test_reading_survives_what_passes(s3, saved, impatient, kind, key, fault):
    fault = FAULTY[fault]
    s3.trouble(fault, method=kind, key=key, times=3)
    assert same_agents(Agent.from_checkpoint(saved, impatient), trained(1, size=2**12))
    assert all(trouble.times == 0 for trouble in s3._troubles)


@pytest.mark.slow
def test_every_single_request_of_a_load_may_fail_once(s3, saved, impatient):
    Agent.from_checkpoint(saved, impatient)
    for n, fault in zip(range(len(s3.log)), cycle(FAULTY.values()), strict=False):
        s3.quiet()
        s3.trouble(fault, skip=n)
        assert Agent.from_checkpoint(saved, impatient).step == 1


@pytest.mark.parametrize("fault", [slow_down, cut])
def test_listing_survives_what_passes(s3, saved, impatient, fault):
    s3.trouble(fault, query="list-type", times=3)
    assert tc.verify(saved, filesystem=impatient).ok


def test_what_does_not_pass_is_an_error_after_the_deadline(s3, saved, impatient, monkeypatch):
    clock = _Clock(monkeypatch)
    monkeypatch.setattr(retrying, "RETRY", Retry(deadline=30.0))
    s3.trouble(slow_down, method="GET", key="model/state", times=1e9)
    with pytest.raises(StorageError, match=r"Cannot read s3://.*model/state\.msgpack: AWS Error"):
        tc.load_state(saved, filesystem=impatient)
    assert 15 < clock.now < 30
    assert len(s3.requests("GET", "model/state")) < 20


class _Broken(pa.BufferReader):
    def read_at(self, nbytes, offset):
        raise ConnectionResetError


def test_a_file_that_broke_is_opened_again_once(monkeypatch):
    monkeypatch.setattr(retrying, "RETRY", Retry(first_delay=0.0))
    files = iter([_Broken(b"abc"), pa.BufferReader(b"abc")])
    source = ArrowSource(lambda: next(files), "x")
    found = bytearray(3)
    for offset in range(3):
        source.read_into(offset, memoryview(found)[offset : offset + 1])
    assert found == b"abc"


def test_what_is_denied_is_not_tried_again(s3, saved, impatient):
    s3.trouble(denied, method="HEAD GET", key="model/state", times=1e9)
    with pytest.raises(StorageError, match=r"model/state\.msgpack.*ACCESS_DENIED"):
        tc.load_state(saved, "model", filesystem=impatient)
    assert len(s3.requests("HEAD GET", "model/state")) == 1


# ---------------------------------------------------------------------------------------- writing


def _is_still_the_old_one(s3, saved):
    s3.quiet()
    filesystem = s3.filesystem()
    assert same_agents(Agent.from_checkpoint(saved, filesystem), trained(1, size=2**12))
    report = tc.verify(saved, filesystem=filesystem)
    assert report.ok
    return not report.warnings


@REFUSALS
def test_the_beginning_of_an_upload_survives_what_passes(s3, saved, impatient, fault):
    s3.trouble(fault, method="POST", query="uploads", times=3)
    trained(2).save_to_path(saved, filesystem=impatient)
    assert Agent.from_checkpoint(saved, impatient).step == 2


UPLOADS = product(["PUT", "POST"], ["c/state.", "c/model/state.", "c/model/metadata", "c/metadata"])


# Each place with one of the faults: how they differ is over before anybody asks where they are.
@pytest.mark.parametrize(
    ("request_kind", "key", "fault"),
    [(*upload, fault) for upload, fault in zip(UPLOADS, cycle(REFUSED.values()), strict=False)],
)
def test_a_failed_upload_leaves_the_old_checkpoint(s3, saved, impatient, request_kind, key, fault):
    s3.trouble(fault, method=request_kind, key=key, query="uploadId", times=1e9)
    with pytest.raises(StorageError, match=rf"Cannot write s3://.*{key.replace('.', '[.]')}"):
        trained(2).save_to_path(saved, filesystem=impatient, use_msgpack=True)
    assert _is_still_the_old_one(s3, saved) or key == "c/metadata"


@pytest.mark.slow
def test_an_upload_cut_in_the_middle_of_its_parts_leaves_the_old_checkpoint(s3, saved, impatient):
    s3.trouble(cut, method="PUT", key="c/state", query="partNumber=2", times=1e9)
    state = {"a": np.ones(3 * 2**23, "u1")}
    with pytest.raises(StorageError, match=r"Cannot write s3://.*c/state\..*msgpack"):
        tc.save_state(state, saved, filesystem=impatient)
    assert _is_still_the_old_one(s3, saved)


def test_a_failed_first_save_leaves_nothing(s3, bucket, impatient):
    s3.trouble(broken, method="PUT", key="c/model/head/state", times=1e9)
    with pytest.raises(StorageError, match="model/head/state"):
        trained().save_to_path(f"{bucket}/c", filesystem=impatient)
    s3.quiet()
    found = impatient.get_file_info(fs.FileSelector(bucket, recursive=True))
    assert not [info.path for info in found if info.is_file]


def test_a_bucket_that_does_not_exist_is_an_error_that_names_it(s3):
    with pytest.raises(StorageError, match="no-such-bucket"):
        trained().save_to_path("no-such-bucket/c", filesystem=s3.filesystem())
    with pytest.raises(NotACheckpointError, match="no-such-bucket"):
        tc.load_state("no-such-bucket/c", filesystem=s3.filesystem())


def _disk_full():
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_save_that_fails_at_any_operation_leaves_old_or_new(tmp_path):
    inner = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    failed = 0
    for n in range(1, 1000):
        trained(1).save_to_path(f"{n}", filesystem=inner)
        count = [0]
        faulty = FaultyFilesystem(inner, _disk_full, n, count)
        try:
            trained(2).save_to_path(f"{n}", filesystem=faulty, use_msgpack=True)
        except StorageError as error:
            failed += error.reason == "No space left on device"
        assert tc.verify(f"{n}", filesystem=inner).ok
        assert Agent.from_checkpoint(f"{n}", inner).step in (1, 2)
        if count[0] < n:
            break
    assert failed > 30


def test_another_librarys_exception_is_an_error_of_ours(tmp_path):
    def act():
        raise RuntimeError("a Python filesystem's own")

    inner = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    with pytest.raises(StorageError, match="Python filesystem's own"):
        trained().save_to_path("c", filesystem=FaultyFilesystem(inner, act, 5))


# --------------------------------------------------------------------------------------- the policy


class _Clock:
    """Time that passes only where someone waits."""

    def __init__(self, monkeypatch):
        self.now, self.waits = 0.0, []
        monkeypatch.setattr(retrying, "time", self)  # there alone: other threads sleep, too

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.waits.append(seconds)


def _failing(*errors):
    left = list(errors)

    def attempt():
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def test_waits_grow_differ_and_end_by_the_deadline(monkeypatch):
    clock = _Clock(monkeypatch)
    with pytest.raises(ConnectionError):
        Retry(10.0, first_delay=0.1, longest_delay=2.0).call(_failing(*[ConnectionError()] * 99))
    bounds = [min(0.1 * 2**n, 2.0) for n in range(len(clock.waits))]
    assert all(high / 2 <= wait <= high for wait, high in zip(clock.waits, bounds, strict=True))
    assert len(set(clock.waits)) == len(clock.waits)
    assert clock.now <= 10.0
    assert len(clock.waits) > 6


def test_an_attempt_that_succeeds_is_the_last(monkeypatch):
    clock = _Clock(monkeypatch)
    assert Retry().call(_failing(TimeoutError(), ConnectionResetError())) == "done"
    assert len(clock.waits) == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (OSError(errno.ETIMEDOUT, "timed out"), True),
        (OSError("AWS Error SLOW_DOWN during GetObject operation: Please reduce"), True),
        (OSError("AWS Error UNKNOWN (HTTP status 503) during HeadObject operation"), True),
        (OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 56"), True),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (PermissionError(errno.EACCES, "denied"), False),
        (OSError(errno.ENOSPC, "full"), False),
        (OSError("AWS Error ACCESS_DENIED during PutObject operation"), False),
        (OSError("AWS Error NO_SUCH_BUCKET during HeadObject operation"), False),
        (OSError("AWS Error UNKNOWN (HTTP status 403) during HeadObject operation"), False),
        (OSError("AWS Error UNKNOWN (HTTP status 501) during CopyObject operation"), False),
    ],
)
def test_what_is_transient(error, expected):
    assert is_transient(error) is expected
