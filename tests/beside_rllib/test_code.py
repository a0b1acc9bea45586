"""Code in a checkpoint: it runs there, and here only when asked."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest

from tests.beside_rllib.nodes import node, restored, saved
from tests.conftest import REPO
from tests.interpreters import bare_environment, find_interpreter
from tune_ckpt.errors import CorruptDataError, UntrustedPickleError
from tune_ckpt.tree import pickled_code

pytestmark = pytest.mark.slow  # RLlib takes seconds to import


class Payload:
    """A pickle that runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_reading_msgpack_runs_code_there_and_never_here(theirs, ours, tmp_path):
    fields = {b"nd": True, b"type": "O", b"kind": b"O", b"shape": (1,)}
    evil = {**fields, b"data": pickle.dumps(Payload(tmp_path / "ran"))}
    for cls in (theirs, ours):
        saved(cls(), tmp_path / cls.__name__, use_msgpack=True)
        (tmp_path / cls.__name__ / "state.msgpack").write_bytes(msgpack.packb({"value": evil}))
    with pytest.raises(CorruptDataError):
        restored(ours, tmp_path / "Ours")
    assert not (tmp_path / "ran").exists()
    restored(theirs, tmp_path / "Theirs")
    assert (tmp_path / "ran").exists()


def test_code_in_a_pickle_is_loaded_there_and_only_when_asked_here(theirs, ours, tmp_path):
    for cls in (theirs, ours):
        saved(node(cls, lambda: 42), tmp_path / cls.__name__)
    assert restored(theirs, tmp_path / "Theirs").value() == 42
    with pytest.raises(UntrustedPickleError):
        restored(ours, tmp_path / "Ours")
    assert restored(ours, tmp_path / "Ours", allow_pickle=True).value() == 42


@pytest.fixture(scope="module")
def other_python(tmp_path_factory):
    """Python 3.13, with what we need to read, and that part of Ray that made RLlib's pickles."""
    interpreter = find_interpreter("3.13")
    if interpreter is None or sys.version_info[:2] == (3, 13):
        pytest.skip("there is no other Python here")
    folder = tmp_path_factory.mktemp("python")
    python = bare_environment(interpreter, folder / "venv")
    import ray.cloudpickle

    shutil.copytree(Path(ray.cloudpickle.__file__).parent, folder / "lib" / "ray" / "cloudpickle")
    paths = os.pathsep.join(map(str, (REPO, folder / "lib")))
    return lambda code, *args: subprocess.run(
        [python, "-c", code, *map(str, args)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


THEIR_READING = """
import pickle, sys
state = pickle.load(open(sys.argv[1] + "/state.pkl", "rb"))  # as RLlib does
print("loaded", flush=True)
state["value"]["code"](3)
"""
OUR_READING = """
import sys
import tune_ckpt as tc
from tests.beside_rllib.nodes import NODE, node, restored, saved
for trusted in (False, True):
    try:
        tc.load_state(sys.argv[1], allow_pickle=trusted)
    except tc.TuneCkptError as error:
        print(error)
print([array.path for array in tc.describe(sys.argv[1]).arrays])
"""


def test_code_of_another_python_kills_it_there_and_is_not_loaded_here(
    theirs, ours, other_python, tmp_path
):
    def code(number):
        return [one for one in range(number) if one]

    for cls in (theirs, ours):
        value = {"code": code, "w": np.ones(3)}
        saved(node(cls, value), tmp_path / cls.__name__)
    there = other_python(THEIR_READING, tmp_path / "Theirs")
    assert (there.stdout, there.returncode) == ("loaded\n", -signal.SIGSEGV)
    here = other_python(OUR_READING, tmp_path / "Ours")
    assert here.returncode == 0, here.stderr
    assert "cloudpickle:_make_function" in here.stdout
    assert f"it holds code of Python {pickled_code.here()}, and this is 3.13" in here.stdout
    assert here.stdout.endswith("['value/w']\n")
