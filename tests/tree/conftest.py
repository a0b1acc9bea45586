"""The S3 server that the tests of trees share."""

import pytest

from tests.s3 import ENVIRONMENT, S3Server
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
