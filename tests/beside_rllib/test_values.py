"""What is in a state: what msgpack makes of values there, and what it is here."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tune_ckpt as tc
from tests.beside_rllib.nodes import node, restored, saved
from tune_ckpt.errors import UnsupportedStateError

pytestmark = pytest.mark.slow  # RLlib takes seconds to import


def test_msgpack_keeps_types_here(theirs, ours, tmp_path):
    value = {"pair": (1, 2), "scalar": np.float32(1.5)}
    found = restored(theirs, saved(node(theirs, value), tmp_path / "t", use_msgpack=True)).value
    assert found == {"pair": [1, 2], "scalar": 1.5}
    found = restored(ours, saved(node(ours, value), tmp_path / "o", use_msgpack=True)).value
    assert found == value
    assert type(found["scalar"]) is np.float32


@pytest.mark.parametrize(
    ("value", "error"),
    [({1, 2}, TypeError), (np.random.PCG64(0).state, OverflowError), (2**70, OverflowError)],
)
def test_what_msgpack_lacks_works_here(theirs, ours, tmp_path, value, error):
    with pytest.raises(error):
        saved(node(theirs, value), tmp_path / "t", use_msgpack=True)
    found = restored(ours, saved(node(ours, value), tmp_path / "o", use_msgpack=True)).value
    assert found == value


def test_what_cannot_be_written_is_refused_with_its_path_and_nothing_is_left(
    theirs, ours, tmp_path
):
    with pytest.raises(TypeError, match=r"^can not serialize"):
        saved(node(theirs, 1, node(theirs, [open])), tmp_path / "t", use_msgpack=True)
    assert (tmp_path / "t" / "metadata.json").exists()
    with pytest.raises(UnsupportedStateError, match="part0/value/0"):
        saved(node(ours, 1, node(ours, [lambda: 0])), tmp_path / "o", use_msgpack=True)
    assert not (tmp_path / "o").exists()


def test_arrays_are_read_only_there_and_writable_here(theirs, ours, tmp_path):
    found = [
        restored(cls, saved(node(cls, np.ones(3)), tmp_path / cls.__name__, use_msgpack=True))
        for cls in (theirs, ours)
    ]
    assert [part.value.flags.writeable for part in found] == [False, True]


def test_a_given_empty_state_is_not_replaced_here(theirs, ours, tmp_path):
    saved(node(theirs, 5), tmp_path / "t", state={})
    assert pickle.loads((tmp_path / "t" / "state.pkl").read_bytes()) == {"value": 5}
    assert tc.load_state(saved(node(ours, 5), tmp_path / "o", state={})) == {}


def test_a_given_state_is_not_changed_here(theirs, ours, tmp_path):
    left = []
    for cls in (theirs, ours):
        state = {"value": 1, "part0": {"value": 2}}
        saved(node(cls, 0, cls()), tmp_path / cls.__name__, state=state)
        left.append(sorted(state))
    assert left == [["value"], ["part0", "value"]]


def test_saving_patches_msgpack_there_and_not_here(nodes, tmp_path):
    code = (
        "import sys, msgpack; before = msgpack.packb\n"
        f"sys.path.insert(0, {str(Path(nodes.__file__).parent)!r}); import nodes_of_both as nodes\n"
        "for cls, patched in ((nodes.Ours, False), (nodes.Theirs, True)):\n"
        f"    cls().save_to_path({str(tmp_path)!r} + '/' + cls.__name__, use_msgpack=True)\n"
        "    assert (msgpack.packb is not before) == patched, cls"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path.cwd())
