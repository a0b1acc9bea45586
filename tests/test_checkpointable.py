"""Objects to trees and back: the promises of `Checkpointable`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Agent, Model, Secretive, Weights, same_agents, trained
from tune_ckpt.errors import (
    ClassNotFoundError,
    ComponentNotFoundError,
    IncompleteCheckpointError,
    InvalidNameError,
    NotACheckpointError,
    PartNotFoundError,
    RestoreError,
    UnsupportedStateError,
    UntrustedPickleError,
)

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


@FORMATS
def test_a_tree_comes_back_equal(tmp_path, use_msgpack):
    agent = trained()
    assert agent.save_to_path(tmp_path / "c", use_msgpack=use_msgpack) == str(tmp_path / "c")
    assert same_agents(Agent.from_checkpoint(tmp_path / "c"), agent)


@FORMATS
def test_restore_into_an_object(tmp_path, use_msgpack):
    agent, other = trained(), Agent(500)
    agent.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    other.restore_from_path(tmp_path / "c")
    assert same_agents(other, agent)


def test_msgpack_leaves_no_pickle_on_disk(tmp_path):
    trained().save_to_path(tmp_path / "c", use_msgpack=True)
    files = sorted(str(p.relative_to(tmp_path / "c")) for p in tmp_path.rglob("*") if p.is_file())
    assert files == sorted(
        f"{folder}{name}"
        for folder in ("", "model/", "model/head/")
        for name in ("class_and_ctor_args.msgpack", "metadata.json", "state.msgpack")
    )


def test_saving_in_the_other_format_leaves_no_stale_file(tmp_path):
    trained(step=1).save_to_path(tmp_path / "c", use_msgpack=True)
    trained(step=2).save_to_path(tmp_path / "c", use_msgpack=False)
    assert not list(tmp_path.rglob("*.msgpack"))
    assert Agent.from_checkpoint(tmp_path / "c").step == 2


def test_saving_over_a_checkpoint_keeps_the_users_own_files(tmp_path):
    trained(step=1).save_to_path(tmp_path / "c")
    (tmp_path / "c" / "notes.txt").write_text("mine")
    (tmp_path / "c" / "plots").mkdir()
    (tmp_path / "c" / "plots" / "a.png").write_bytes(b"png")
    (tmp_path / "c" / "model" / "own").mkdir()
    (tmp_path / "c" / "model" / "own" / "b.txt").write_text("mine")
    trained(step=2).save_to_path(tmp_path / "c", use_msgpack=True)
    assert (tmp_path / "c" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "c" / "model" / "own" / "b.txt").read_text() == "mine"
    assert (tmp_path / "c" / "plots" / "a.png").read_bytes() == b"png"
    assert Agent.from_checkpoint(tmp_path / "c").step == 2


def test_without_a_path_a_new_folder_is_made(tmp_path):
    path = Path(trained().save_to_path())
    try:
        assert Agent.from_checkpoint(path).step == 7
    finally:
        shutil.rmtree(path)


def test_the_callers_state_is_saved_and_not_changed(tmp_path):
    state = {"step": 9, "shape": (0,), "model": {"w": np.ones(4), "head": {"w": np.ones(2)}}}
    Agent().save_to_path(tmp_path / "c", state=state)
    assert state.keys() == {"step", "shape", "model"}
    assert state["model"].keys() == {"w", "head"}
    assert tc.load_state(tmp_path / "c")["model"]["head"]["w"].tolist() == [1, 1]


def test_an_empty_given_state_is_honoured(tmp_path):
    Weights().save_to_path(tmp_path / "c", state={})
    assert tc.load_state(tmp_path / "c") == {}


def test_subcomponents_that_a_given_state_lacks_are_not_saved(tmp_path):
    Agent().save_to_path(tmp_path / "c", state={"step": 1, "shape": ()})
    assert tc.load_state(tmp_path / "c").keys() == {"step", "shape"}


def test_component_restores_that_part_alone(tmp_path):
    trained().model.head.save_to_path(tmp_path / "head")
    agent = Agent(500)
    agent.restore_from_path(tmp_path / "head", component="model/head")
    assert agent.model.head.w.tolist() == [7, -7]
    assert agent.step == 0
    assert not agent.model.w.any()


def test_an_unknown_component_is_named_with_those_there_are(tmp_path):
    trained().save_to_path(tmp_path / "c")
    with pytest.raises(ComponentNotFoundError, match="its components: model"):
        Agent().restore_from_path(tmp_path / "c", component="modle")
    with pytest.raises(ComponentNotFoundError, match="its components: model"):
        tc.load_state(tmp_path / "c", "modle")


@pytest.mark.parametrize("use_msgpack", [False, True])
def test_one_part_of_a_components_state_is_loaded(tmp_path, use_msgpack):
    trained().save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    assert tc.load_state(tmp_path / "c", "model/head", at="w").tolist() == [7, -7]
    with pytest.raises(PartNotFoundError, match=r"state\..* has no part 'v'; there: w"):
        tc.load_state(tmp_path / "c", "model/head", at="v")


def test_constructor_arguments_can_be_replaced(tmp_path):
    trained(name="old").save_to_path(tmp_path / "c", use_msgpack=True)
    assert Agent.from_checkpoint(tmp_path / "c", name="new").name == "new"
    assert Agent.from_checkpoint(tmp_path / "c", size=3).size == 3


class Late(Weights):
    """A component that appears only when its owner has its state."""

    def __init__(self):
        super().__init__()
        self.parts = {}

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w, "names": list(self.parts)}

    def set_state(self, state):
        super().set_state(state)
        self.parts = {name: self.parts.get(name, Weights(2)) for name in state["names"]}

    def get_checkpointable_components(self):
        return list(self.parts.items())

    def get_ctor_args_and_kwargs(self):
        return (), {}


def test_components_that_appear_with_the_state_are_restored(tmp_path):
    late = Late()
    late.parts = {"a": Weights(2), "b": Weights(2)}
    late.parts["b"].w = np.array([1.0, 2.0])
    late.save_to_path(tmp_path / "c")
    assert Late.from_checkpoint(tmp_path / "c").parts["b"].w.tolist() == [1, 2]


class Renaming(Weights):
    METADATA_FILE_NAME = "rllib_checkpoint.json"
    STATE_FILE_NAME = "module.state"
    CLASS_AND_CTOR_ARGS_FILE_NAME = "class.pkl"


@FORMATS
def test_file_names_follow_the_class_attributes(tmp_path, use_msgpack):
    parent = Late()
    parent.parts = {"part": Renaming(2)}
    parent.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    suffix = "msgpack" if use_msgpack else "pkl"
    names = {p.name for p in (tmp_path / "c" / "part").iterdir()}
    assert names == {"rllib_checkpoint.json", f"module.state.{suffix}", f"class.{suffix}"}
    assert Renaming.from_checkpoint(tmp_path / "c" / "part").size == 2
    assert tc.verify(tmp_path / "c").ok


def test_a_missing_component_is_an_error_and_touches_nothing(tmp_path):
    trained().model.head.save_to_path(tmp_path / "c")
    model = Model()
    with pytest.raises(RestoreError, match="head: missing"):
        model.restore_from_path(tmp_path / "c")
    assert not model.w.any()


def test_an_unexpected_component_is_an_error(tmp_path):
    trained().model.save_to_path(tmp_path / "c")
    with pytest.raises(RestoreError, match="head: unexpected"):
        Weights(500).restore_from_path(tmp_path / "c")


def test_a_subclass_that_is_imported_is_found(tmp_path):
    trained().model.save_to_path(tmp_path / "c")
    assert type(Weights.from_checkpoint(tmp_path / "c")) is Model


def test_another_class_is_an_error_that_says_what_to_do(tmp_path):
    trained().save_to_path(tmp_path / "c")
    with pytest.raises(ClassNotFoundError, match=r"saved by class tests\.agents:Agent"):
        Weights.from_checkpoint(tmp_path / "c")


MAIN = """
import sys
import numpy as np
import tune_ckpt as tc

class Digits(tc.Checkpointable):
    def __init__(self, lr):
        self.lr, self.w = lr, np.zeros(3)
    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w}
    def set_state(self, state):
        self.w = state["w"]
    def get_ctor_args_and_kwargs(self):
        return (self.lr,), {}

if __name__ == "__main__":
    if sys.argv[1] == "save":
        digits = Digits(0.5)
        digits.w += 2
        digits.save_to_path(sys.argv[2], use_msgpack=sys.argv[3] == "msgpack")
    else:
        digits = Digits.from_checkpoint(sys.argv[2])
        assert (digits.lr, digits.w.tolist()) == (0.5, [2, 2, 2])
"""


@pytest.mark.parametrize("format", ["pickle", "msgpack"])
def test_a_class_of_main_round_trips_between_scripts_and_modules(tmp_path, monkeypatch, format):
    (tmp_path / "script_of_digits.py").write_text(MAIN)
    run = [sys.executable, str(tmp_path / "script_of_digits.py")]
    subprocess.run([*run, "save", str(tmp_path / "c"), format], check=True, cwd=Path.cwd())
    subprocess.run([*run, "load", str(tmp_path / "c")], check=True, cwd=Path.cwd())
    monkeypatch.syspath_prepend(tmp_path)
    import script_of_digits

    assert script_of_digits.Digits.from_checkpoint(tmp_path / "c").lr == 0.5
    with pytest.raises(ClassNotFoundError, match="__main__:Digits"):
        Agent.from_checkpoint(tmp_path / "c")


def test_a_pickle_that_names_other_classes_needs_trust(tmp_path):
    Secretive().save_to_path(tmp_path / "c")
    with pytest.raises(UntrustedPickleError, match="textwrap:TextWrapper"):
        Secretive.from_checkpoint(tmp_path / "c")
    assert Secretive.from_checkpoint(tmp_path / "c", allow_pickle=True).w.width == 3


def test_what_msgpack_cannot_hold_is_listed_for_the_whole_tree_and_nothing_written(tmp_path):
    agent = trained()
    agent.step = lambda: 0
    agent.model.head.w = [open, (x for x in ())]
    with pytest.raises(UnsupportedStateError) as caught:
        agent.save_to_path(tmp_path / "c", use_msgpack=True)
    assert {fault.path for fault in caught.value.faults} == {"step", "model/head/w/1"}
    assert not list(tmp_path.iterdir())


class Noted(Weights):
    """A leaf with metadata of its own."""

    facts: object = None

    def get_metadata(self):
        return {**super().get_metadata(), "facts": self.facts}


@FORMATS
def test_metadata_that_json_cannot_hold_is_listed_with_the_rest(tmp_path, use_msgpack):
    model = Model()
    model.head = Noted()
    model.head.facts = {np.float32(0.5)}
    model.get_metadata = list
    model.w = (x for x in ())
    with pytest.raises(UnsupportedStateError) as caught:
        model.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    assert len(caught.value.faults) == 3
    assert "- metadata.json: get_metadata() returned a list" in str(caught.value)
    assert "- head/metadata.json: get_metadata() returned what JSON" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_metadata_like_a_digest_that_is_not_written_yet_is_kept(tmp_path):
    saved = Noted()
    saved.facts = "0" * 40  # Git's name for no commit
    saved.save_to_path(tmp_path / "c")
    assert json.loads((tmp_path / "c" / "metadata.json").read_text())["facts"] == saved.facts
    assert tc.verify(tmp_path / "c").ok


def test_a_state_that_is_no_dict_is_told_by_its_components_name(tmp_path):
    model = Model()
    model.head.get_state = lambda **_: model.get_state
    with pytest.raises(UnsupportedStateError, match="- head: "):
        model.save_to_path(tmp_path / "c", use_msgpack=True)


class Named(Late):
    def __init__(self, names=()):
        super().__init__()
        self.parts = {name: Weights(2) for name in names}


@pytest.mark.parametrize(
    "names",
    [
        [""],
        [".."],
        ["../evil"],
        ["/etc"],
        ["a\\b"],
        ["a:b"],
        ["x" * 300],
        ["a", "A"],
        ["state.pkl"],
    ],
)
def test_names_that_cannot_be_folders_are_refused(tmp_path, names):
    with pytest.raises(InvalidNameError):
        Named(names).save_to_path(tmp_path / "c")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["two words", "größe", "v1.2", "100%", "default_policy"])
def test_names_that_can_be_folders_come_back(tmp_path, name):
    saved = Named([name])
    saved.parts[name].w = np.array([5.0, 6.0])
    saved.save_to_path(tmp_path / "c")
    assert Named.from_checkpoint(tmp_path / "c").parts[name].w.tolist() == [5, 6]


def test_no_checkpoint_and_an_unfinished_one_are_told_apart(tmp_path):
    with pytest.raises(NotACheckpointError, match="nothing is there"):
        Agent.from_checkpoint(tmp_path / "none")
    trained().save_to_path(tmp_path / "c")
    (tmp_path / "c" / "metadata.json").unlink()
    with pytest.raises(IncompleteCheckpointError, match="unfinished"):
        Agent.from_checkpoint(tmp_path / "c")


def test_two_components_of_one_name_are_refused(tmp_path):
    twins = Late()
    twins.get_checkpointable_components = lambda: [("a", Weights()), ("a", Weights())]
    with pytest.raises(InvalidNameError, match="another component has that name"):
        twins.save_to_path(tmp_path / "c")


class Forgetful(Weights):
    """Its state lacks what its component's component needs."""

    def __init__(self):
        super().__init__(1)
        self.model = Model(1)

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w, "model": self.model.get_state()}

    def get_checkpointable_components(self):
        return [("model", self.model)]


def test_a_component_that_its_owners_state_lacks_is_asked_itself(tmp_path):
    owner = Forgetful()
    owner.model.head.w = np.array([3.0, 4.0])
    owner.save_to_path(tmp_path / "c")
    assert tc.load_state(tmp_path / "c", "model/head")["w"].tolist() == [3, 4]
