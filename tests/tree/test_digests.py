"""Content digests: equal state has an equal digest, wherever and however it is saved."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import trained

REPO = Path(__file__).parents[2]


def _small_tree():
    agent = trained(step=7, size=200)
    agent.model.w = np.arange(200, dtype="<f8") * 7  # the same bytes on every machine
    return agent


# Raising a format's version changes them; nothing else may.
GOLDEN = {
    "pickle": "7ea0f0314c21ec37a21679031fd638f6",  # with NumPy 2, whose pickles name other modules
    "msgpack": "7b017cd7b0a58105a89d5892c9b159f9",
}


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_equal_state_has_the_golden_digest_whenever_it_is_saved(tmp_path, format, monkeypatch):
    if format == "pickle" and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("NumPy 1 pickles other names")
    for year in (2020, 2040):
        facts = {"created": f"{year}-01-01"}
        monkeypatch.setattr("tune_ckpt.tree.writing._facts", lambda facts=facts: facts)
        _small_tree().save_to_path(tmp_path / str(year), use_msgpack=format == "msgpack")
        assert tc.describe(tmp_path / str(year)).created.startswith(str(year))
        assert tc.describe(tmp_path / str(year)).digest == GOLDEN[format]


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_other_state_has_another_digest_up_to_the_root(tmp_path, format):
    digests = set()
    for index in range(3):
        agent = _small_tree()
        agent.model.head.w[0] += index
        agent.save_to_path(tmp_path / str(index), use_msgpack=format == "msgpack")
        digests.add(tc.describe(tmp_path / str(index)).digest)
    assert len(digests) == 3


def test_in_another_run_the_digest_is_the_same(tmp_path):
    code = (
        "import sys, tune_ckpt as tc; from tests.tree.test_digests import _small_tree;"
        "_small_tree().save_to_path(sys.argv[1], use_msgpack=True)"
    )
    for seed in ("1", "2"):  # sets and hashes come in another order
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        subprocess.run(command, env=environment, cwd=REPO, check=True)
        assert tc.describe(tmp_path / seed).digest == GOLDEN["msgpack"]
