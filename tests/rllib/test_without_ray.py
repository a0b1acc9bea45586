"""Every case is read where nothing is installed but msgpack, numpy and xxhash."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CORPUS
from tests.rllib.cases import CASES, COMMITTED, DATA, one
from tests.test_other_pythons import bare_environment, find_interpreter
from tune_ckpt import rllib
from tune_ckpt.errors import MissingDependencyError
from tune_ckpt.rllib import load_config, load_counters, load_weights
from tune_ckpt.rllib.restoring import rllib_classes

REPO = Path(__file__).parents[2]


def _read_all(python, *roots):
    script = [
        python,
        "-W",
        "error",
        str(REPO / "tests" / "rllib" / "read_all.py"),
        *map(str, roots),
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    run = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def test_no_other_library_is_imported():
    assert _read_all(sys.executable, DATA) == len(COMMITTED)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_every_python_reads_every_case(tmp_path, version):
    interpreter = find_interpreter(version)
    if interpreter is None:
        pytest.skip(f"there is no Python {version} here")
    python = bare_environment(interpreter, tmp_path / "venv")
    roots = [DATA, CORPUS] if CORPUS.is_dir() else [DATA]
    of_corpus = [case for case in CASES if (CORPUS / case.name).is_dir()]
    assert _read_all(python, *roots) == len(COMMITTED) + len(of_corpus)


RESTORING = (
    *(rllib.restore_algorithm, rllib.restore_policy, rllib.restore_module),
    rllib.migrate_to_rl_module,
)


@pytest.mark.parametrize("restore", RESTORING)
@pytest.mark.parametrize(
    ("module", "install"), [("gymnasium", r"ray\[rllib\]"), ("torch", "torch")]
)
def test_what_must_be_installed_to_restore_is_told(monkeypatch, restore, module, install):
    monkeypatch.setattr(rllib_classes, "find_spec", lambda name: None if name == module else name)
    with pytest.raises(MissingDependencyError, match=f"pip install '?{install}"):
        restore(one("ray2.10.0").path)


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_nothing_in_a_checkpoint_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {"worker": pickle.dumps({"state": {"p": {"weights": Trap()}}}), "config": Trap()}
    Path("algorithm_state.pkl").write_bytes(pickle.dumps({**state, "counters": Trap()}))
    assert load_weights(tmp_path) == {}
    assert load_counters(tmp_path) == {}
    with pytest.raises(Exception, match="no configuration"):
        load_config(tmp_path)
    assert not Path("sprung").exists()
