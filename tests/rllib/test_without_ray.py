"""Without Ray every case is read, and what needs Ray or torch says so."""

import pickle
import sys
from pathlib import Path

import pytest

from tests.interpreters import run_script
from tests.rllib.cases import COMMITTED, DATA, one
from tune_ckpt import rllib
from tune_ckpt.errors import MissingDependencyError, NotInCheckpointError
from tune_ckpt.rllib import load_config, load_counters, load_weights
from tune_ckpt.rllib.restoring import rllib_classes


def test_no_other_library_is_imported():
    run = run_script(sys.executable, "rllib/read_all.py", DATA)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == len(COMMITTED)


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
    with pytest.raises(NotInCheckpointError, match="no configuration"):
        load_config(tmp_path)
    assert not Path("sprung").exists()
