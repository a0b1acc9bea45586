"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgpack
import pytest
from hypothesis import settings

# "ci" is every run; a run that takes hours now and then: --hypothesis-profile=thorough --timeout=0
settings.register_profile("ci", max_examples=60, deadline=None, print_blob=True)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=3000)
settings.load_profile("ci")

# What a process of the tests and its Ray take at most, and how many of them are enough.
MOST_NBYTES, MOST_PROCESSES = 2.5 * 2**30, 4

# There is a test process for each core: in each, what computes does so in one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MSGPACK = dict(vars(msgpack))  # as it is before any test
FOLDER = Path.cwd()

REPO = Path(__file__).parents[1]
CORPUS = REPO.parent / "shared" / "corpus"


def pytest_configure():
    """A run in the background ignores Ctrl-C, and so would the commands that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers():
    """As many as there are cores; one more, and all of their Rays slow each other down."""
    nbytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    room = round(nbytes / MOST_NBYTES)
    return max(1, min(len(os.sched_getaffinity(0)), room, MOST_PROCESSES))


def pytest_collection_modifyitems(items):
    """What needs Ray is slow. Files with slow tests come first: at the end no process idles."""
    for item in items:
        if "ray_session" in item.fixturenames:
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def ray_session():
    """One Ray for all tests: starting it takes seconds."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # else it warns of a future change
    os.environ["LOG_NAME_UPDATE_INTERVAL_S"] = "60"  # nobody waits for what is in its logs
    import ray

    with pytest.MonkeyPatch.context() as environment:
        # Its workers import what the examples, which are run in this process, import.
        environment.setenv("PYTHONPATH", str(REPO / "examples"), prepend=os.pathsep)
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(autouse=True)
def _unpatched():
    """RLlib patches msgpack for the whole process: the tests that follow shall not see it."""
    yield
    vars(msgpack).update(MSGPACK)


@pytest.fixture(autouse=True)
def _same_folder():
    """A Trainable that is made in this process takes the process to its trial's folder."""
    yield
    os.chdir(FOLDER)


@pytest.fixture(scope="session")
def s3_server():
    """One S3 server for all tests."""
    from tests.s3 import S3Server

    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The server without trouble, credentials in the environment, and quick retries."""
    from tests.s3 import ENVIRONMENT
    from tune_ckpt.tree.storage import retrying

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


@pytest.fixture(scope="session")
def corpus():
    """The folder of real checkpoints by many Ray versions."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus of real checkpoints is not beside this checkout")
    return CORPUS
