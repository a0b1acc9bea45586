"""What the tests of trees share: a checkpoint in each format, and two to compare."""

from pathlib import Path

import pytest

import tune_ckpt as tc
from tests.agents import trained
from tests.tree.stores import CountingStore


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
