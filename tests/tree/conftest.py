"""What the tests of trees share: the S3 server, a checkpoint in each format, and two to compare."""

from pathlib import Path

import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.s3 import ENVIRONMENT, S3Server
from tests.tree.stores import CountingStore
from tune_ckpt.tree.storage import retrying


@pytest.fixture(scope="session")
def s3_server():
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The server without trouble, credentials in the environment, and quick retries."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        retrying, "RETRY", retrying.Retry(10.0, first_delay=0.01, longest_delay=0.1)
    )
    s3_server.quiet()
    yield s3_server
    s3_server.quiet()


@pytest.fixture
def bucket(s3):
    return s3.new_bucket()


@pytest.fixture
def count_opened(monkeypatch):
    """Let a module open stores that count; the list of them."""

    def count(module):
        stores = []

        def open_store(path, filesystem=None):
            stores.append(CountingStore(Path(path)))
            return stores[-1]

        monkeypatch.setattr(module, "open_store", open_store)
        return stores

    return count


FORMATS = ("pickle", "msgpack")


@pytest.fixture(params=FORMATS)
def saved(request, tmp_path):
    """A checkpoint of three levels."""
    trained().save_to_path(tmp_path / "c", use_msgpack=request.param == "msgpack")
    return tmp_path / "c"


@pytest.fixture
def archived(saved, tmp_path):
    """The same as one file."""
    assert tc.archive(saved, tmp_path / "c.zip") == str(tmp_path / "c.zip")
    return tmp_path / "c.zip"


@pytest.fixture(params=[(a, b) for a in FORMATS for b in FORMATS], ids="-".join)
def differ(request, tmp_path):
    """Save two states, in each pair of formats, and compare them."""

    def run(first, second, **options):
        for name, state, format in zip("ab", (first, second), request.param, strict=True):
            tc.save_state(state, tmp_path / name, format=format)
        return tc.diff(tmp_path / "a", tmp_path / "b", **options)

    return run
