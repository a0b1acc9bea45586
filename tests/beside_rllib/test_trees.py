"""What is missing, stopped, stale or converted in a tree: told here, passed over there."""

import numpy as np
import pyarrow.fs
import pytest

import tune_ckpt as tc
from tests.beside_rllib.nodes import node, restored, saved
from tests.rllib.cases import CASES
from tune_ckpt import rllib
from tune_ckpt.errors import ClassNotFoundError, CorruptDataError, RestoreError

pytestmark = pytest.mark.slow  # RLlib takes seconds to import


def test_a_class_that_is_gone_becomes_its_base_there_and_an_error_here(nodes, tmp_path):
    for name in ("Theirs", "Ours"):
        base = getattr(nodes, name)
        gone = type("Gone", (base,), {"__module__": "nodes_of_both", "__qualname__": "Gone"})
        nodes.Gone = gone
        saved(gone(), tmp_path / name)
        del nodes.Gone
    assert type(nodes.Theirs.from_checkpoint(tmp_path / "Theirs")) is nodes.Theirs
    gone.__qualname__ = "SomethingElse"
    with pytest.raises(ClassNotFoundError, match="nodes_of_both:Gone"):
        nodes.Ours.from_checkpoint(tmp_path / "Ours")


def test_a_component_that_was_not_saved_is_passed_over_there_and_an_error_here(
    theirs, ours, tmp_path
):
    for cls in (theirs, ours):
        saved(node(cls, 1), tmp_path / cls.__name__)
    assert restored(theirs, tmp_path / "Theirs", theirs()).value == 1
    with pytest.raises(RestoreError, match="part0: missing"):
        restored(ours, tmp_path / "Ours", ours())


def test_a_component_whose_folder_is_gone_is_passed_over_there_and_an_error_here(
    theirs, ours, tmp_path
):
    for cls in (theirs, ours):
        path = saved(node(cls, 1, node(cls, 2)), tmp_path / cls.__name__)
        (path / "part0").rename(tmp_path / f"elsewhere {cls.__name__}")
    assert restored(theirs, tmp_path / "Theirs", theirs()).parts[0].value == 0
    with pytest.raises(CorruptDataError, match=r"part0.*missing"):
        restored(ours, tmp_path / "Ours", ours())


def test_msgpack_is_restored_from_any_filesystem_here(theirs, ours, tmp_path):
    elsewhere = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    for cls in (theirs, ours):
        saved(node(cls, 5), cls.__name__, filesystem=elsewhere, use_msgpack=True)
    with pytest.raises(FileNotFoundError):
        restored(theirs, "Theirs", filesystem=elsewhere)
    assert restored(ours, "Ours", filesystem=elsewhere).value == 5


def test_a_save_that_stops_leaves_a_mixture_there_and_the_former_checkpoint_here(
    theirs, ours, tmp_path
):
    found = []
    for cls in (theirs, ours):
        path = saved(node(cls, 1, node(cls, 1), node(cls, 1)), tmp_path / cls.__name__)
        again = node(cls, 2, node(cls, 2), node(cls, 2))
        again.parts[1].fails = True
        with pytest.raises(RuntimeError, match="stopped"):
            again.save_to_path(path)
        tree = restored(cls, path, cls(), cls())
        found.append([tree.value, *(part.value for part in tree.parts)])
    assert found == [[1, 2, 1], [1, 1, 1]]


def test_a_stale_state_of_the_other_format_wins_there_and_is_gone_here(theirs, ours, tmp_path):
    found = []
    for cls in (theirs, ours):
        saved(node(cls, "old"), tmp_path / cls.__name__, use_msgpack=True)
        saved(node(cls, "new"), tmp_path / cls.__name__, use_msgpack=False)
        found.append(restored(cls, tmp_path / cls.__name__).value)
    assert found == ["old", "new"]


def test_a_component_is_converted_from_its_files_here(theirs, ours, tmp_path):
    from ray.rllib.utils.checkpoints import convert_to_msgpack_checkpoint

    for cls in (theirs, ours):
        saved(node(cls, 5, node(cls, 6)), tmp_path / cls.__name__)
    with pytest.raises(ValueError, match="does not seem to be"):
        convert_to_msgpack_checkpoint(str(tmp_path / "Theirs"), str(tmp_path / "t"))
    tc.convert_to_msgpack_checkpoint(tmp_path / "Ours", tmp_path / "o")
    assert restored(ours, tmp_path / "o", ours()).parts[0].value == 6


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("ray2.60.0-py3.11-new-ppo-single-meanstd", RuntimeError, "not supported anymore"),
        ("ray2.60.0-py3.11-old-ppo-single", TypeError, "can not serialize 'ABCMeta'"),
    ],
)
@pytest.mark.usefixtures("ray_session")  # RLlib builds the Algorithm
def test_an_algorithm_cannot_be_converted_there_and_is_here(tmp_path, name, error, message):
    from ray.rllib.utils import checkpoints

    cases = {case.name: case for case in CASES}
    if name not in cases:
        pytest.skip("the corpus of real checkpoints is not beside this checkout")
    path = cases[name].path
    (tmp_path / "theirs").mkdir()
    with pytest.raises(error, match=message):
        checkpoints.convert_to_msgpack_checkpoint(str(path), str(tmp_path / "theirs"))
    rllib.convert_to_msgpack_checkpoint(path, tmp_path / "ours")
    np.testing.assert_equal(rllib.load_weights(tmp_path / "ours"), rllib.load_weights(path))
    assert checkpoints.get_checkpoint_info(str(tmp_path / "ours"))["format"] == "msgpack"
