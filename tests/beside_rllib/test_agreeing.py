"""Where both agree: a class runs over either base class, and reads what the other one wrote."""

import numpy as np
import pytest

import tune_ckpt as tc
from tests.beside_rllib.nodes import node, restored, saved
from tune_ckpt.errors import ClassNotFoundError, CorruptDataError, RestoreError
from tune_ckpt.objects import renaming

pytestmark = pytest.mark.slow  # RLlib takes seconds to import


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
@pytest.mark.parametrize("use_msgpack", [False, True])
def test_a_tree_of_three_levels(nodes, tmp_path, name, use_msgpack):
    cls = getattr(nodes, name)
    tree = node(cls, 1, node(cls, 2, node(cls, 3)), node(cls, 4))
    saved(tree, tmp_path / "c", use_msgpack=use_msgpack)
    found = restored(cls, tmp_path / "c", cls(cls()), cls())
    assert found.value == 1
    assert [part.value for part in found.parts] == [2, 4]
    assert found.parts[0].parts[0].value == 3


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
def test_component_restores_what_lies_two_levels_below(nodes, tmp_path, name):
    cls = getattr(nodes, name)
    saved(node(cls, 3), tmp_path / "c")
    found = restored(cls, tmp_path / "c", cls(cls()), component="part0/part0")
    assert (found.value, found.parts[0].value, found.parts[0].parts[0].value) == (0, 0, 3)


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
def test_arguments_of_get_state(nodes, name):
    cls = getattr(nodes, name)
    tree = node(cls, 1, node(cls, 2, node(cls, 3)), node(cls, 4))
    assert tree.get_state(components="part0/part0") == {"part0": {"part0": {"value": 3}}}
    assert tree.get_state(not_components=["part0"]) == {"value": 1, "part1": {"value": 4}}
    assert tree._check_component("a", ["a/b"], None)
    assert not tree._check_component("a", None, "a")
    assert tree._get_subcomponents("a", ["a/b", "a/c/d", "x"]) == ["b", "c/d"]
    assert tree._get_subcomponents("a", ["a"]) is None


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
def test_keywords_replace_arguments_of_the_constructor(nodes, tmp_path, name):
    cls = getattr(nodes, name)

    class Made(cls):
        def get_ctor_args_and_kwargs(self):
            return (), {"start": 5}

        def set_state(self, state):
            pass

    vars(nodes)["Made"] = Made
    Made.__module__, Made.__qualname__ = "nodes_of_both", "Made"
    saved(Made(), tmp_path / "c")
    assert Made.from_checkpoint(tmp_path / "c").value == 5
    assert cls.from_checkpoint(tmp_path / "c", start=6, later_versions_option=1).value == 6


@pytest.mark.parametrize("name", ["Theirs", "Ours"])
def test_a_given_state_is_saved_with_the_components_that_it_has(nodes, tmp_path, name):
    cls = getattr(nodes, name)
    state = {"value": 8, "part1": {"value": 9}}
    saved(node(cls, 1, cls(), cls()), tmp_path / "c", state=state)
    folders = sorted(path.name for path in (tmp_path / "c").iterdir() if path.is_dir())
    assert folders == ["part1"]


@pytest.mark.parametrize("use_msgpack", [False, True])
def test_what_rllib_saved_opens_when_the_base_class_is_replaced(nodes, tmp_path, use_msgpack):
    theirs, ours = nodes.Theirs, nodes.Ours
    tree = node(theirs, {"w": np.ones(3)}, node(theirs, 2, node(theirs, 3)), node(theirs, 4))
    saved(tree, tmp_path / "c", use_msgpack=use_msgpack)
    (tmp_path / "c" / "plots").mkdir()
    found = ours(ours(ours()), ours())
    report = found.restore_from_path(tmp_path / "c", exclude="part1")
    assert report.loaded == (".", "part0", "part0/part0")
    assert found.value["w"].flags.writeable
    assert (found.parts[0].parts[0].value, found.parts[1].value) == (3, 0)
    found.restore_from_path(tmp_path / "c" / "part1", component="part1")
    assert found.parts[1].value == 4
    with pytest.raises(RestoreError, match="part0/part0: unexpected"):
        ours(ours(), ours()).restore_from_path(tmp_path / "c", strict=True)


@pytest.mark.parametrize("use_msgpack", [False, True])
def test_ours_in_what_rllib_saved_opens_too(nodes, tmp_path, use_msgpack):
    tree = node(nodes.Theirs, 1, node(nodes.Ours, {"pair": (1, 2)}, node(nodes.Ours, 3)))
    saved(tree, tmp_path / "c", use_msgpack=use_msgpack)
    found = restored(nodes.Ours, tmp_path / "c", nodes.Ours(nodes.Ours()))
    assert found.value == 1
    assert found.parts[0].value == {"pair": (1, 2)}
    assert found.parts[0].parts[0].value == 3
    (tmp_path / "c" / "part0" / "part0" / "metadata.json").unlink()
    with pytest.raises(CorruptDataError, match="missing"):
        restored(nodes.Ours, tmp_path / "c", nodes.Ours(nodes.Ours()))


@pytest.mark.parametrize("use_msgpack", [False, True])
def test_its_class_and_arguments_are_found_under_the_new_base_class(nodes, tmp_path, use_msgpack):
    tree = nodes.Theirs(start=5)
    tree.get_ctor_args_and_kwargs = lambda: ((), {"start": 5})
    saved(tree, tmp_path / "c", state={"value": 6}, use_msgpack=use_msgpack)
    with pytest.raises(ClassNotFoundError, match="nodes_of_both:Theirs"):
        nodes.Ours.from_checkpoint(tmp_path / "c")
    tc.register_renamed("nodes_of_both:Theirs", "nodes_of_both:Ours")
    try:
        assert nodes.Ours.from_checkpoint(tmp_path / "c").value == 6
    finally:
        renaming._RENAMED.clear()


def test_a_half_written_tree_of_rllibs_is_an_error(nodes, tmp_path):
    saved(node(nodes.Theirs, 1, node(nodes.Theirs, 2)), tmp_path / "c")
    (tmp_path / "c" / "part0" / "state.pkl").unlink()
    target = nodes.Ours(nodes.Ours())
    with pytest.raises(CorruptDataError, match="part0/state: it is missing"):
        target.restore_from_path(tmp_path / "c")
    assert target.value == 0
