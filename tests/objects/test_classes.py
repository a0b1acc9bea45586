"""Which class is constructed, and what is imported for it."""

import sys
import textwrap
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest

import tune_ckpt as tc
from tests.agents import Agent, Weights, trained
from tune_ckpt.errors import (
    ClassNotFoundError,
    ConstructorError,
    CorruptDataError,
    InvalidArgumentError,
    UnsupportedStateError,
    UntrustedPickleError,
    UntrustedTypesError,
)
from tune_ckpt.objects import classes, renaming

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])

MODULE = """
import numpy as np
import tune_ckpt as tc

class Config:
    def __init__(self, depth):
        self.depth = depth

class Elsewhere(tc.Checkpointable):
    def __init__(self, size=1):
        self.w = np.zeros(size)
        self.config = None

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {"w": self.w, "config": self.config}

    def set_state(self, state):
        self.w, self.config = state["w"], state["config"]

def not_a_class():
    raise AssertionError("it was called")
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A module of a class, and how to make this process forget it."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "elsewhere_package.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "src")
    import elsewhere_package

    yield elsewhere_package
    _forget(elsewhere_package)


def _forget(module):
    sys.modules.pop(module.__name__, None)
    for kind in classes.family(tc.Checkpointable):
        if kind.__module__ == module.__name__:
            kind.__qualname__ = "Forgotten"


@pytest.fixture(autouse=True)
def _no_renames(monkeypatch):
    monkeypatch.setattr(renaming, "_RENAMED", {})


def _saved_by(module, path, **options):
    value = module.Elsewhere(2)
    value.w[0] = 5
    value.save_to_path(path, **options)
    _forget(module)


@FORMATS
def test_a_class_that_is_not_imported_is_not_imported(elsewhere, tmp_path, use_msgpack):
    _saved_by(elsewhere, tmp_path / "c", use_msgpack=use_msgpack)
    with pytest.raises(ClassNotFoundError, match=r"trusted=\['elsewhere_package'\]"):
        tc.restore_object(tmp_path / "c")
    assert "elsewhere_package" not in sys.modules


@FORMATS
@pytest.mark.parametrize("trusted", ["elsewhere_package", ["numpy", "elsewhere_package:Elsewhere"]])
def test_a_class_of_a_trusted_module_is_imported(elsewhere, tmp_path, use_msgpack, trusted):
    _saved_by(elsewhere, tmp_path / "c", use_msgpack=use_msgpack)
    found = tc.restore_object(tmp_path / "c", trusted=trusted)
    assert type(found).__module__ == "elsewhere_package"
    assert found.w.tolist() == [5, 0]


def test_another_module_being_trusted_is_not_enough(elsewhere, tmp_path):
    _saved_by(elsewhere, tmp_path / "c")
    with pytest.raises(ClassNotFoundError):
        tc.restore_object(tmp_path / "c", trusted=["elsewhere", "elsewhere_package2"])
    assert "elsewhere_package" not in sys.modules


@FORMATS
def test_the_type_is_checked_before_it_is_built(elsewhere, tmp_path, use_msgpack, monkeypatch):
    _saved_by(elsewhere, tmp_path / "c", use_msgpack=use_msgpack)
    tc.register_renamed("elsewhere_package:Elsewhere", "elsewhere_package:not_a_class")
    with pytest.raises(ClassNotFoundError, match="no subclass of Weights"):
        Weights.from_checkpoint(tmp_path / "c", trusted="elsewhere_package")
    monkeypatch.setattr(renaming, "_RENAMED", {})
    with pytest.raises(ClassNotFoundError, match="no subclass of Weights"):
        Weights.from_checkpoint(tmp_path / "c", trusted="elsewhere_package")


def test_a_trusted_module_that_is_not_there_is_named(elsewhere, tmp_path):
    _saved_by(elsewhere, tmp_path / "c")
    tc.register_renamed("elsewhere_package:Elsewhere", "nowhere.at_all:X")
    with pytest.raises(ClassNotFoundError, match="No module named 'nowhere'"):
        tc.restore_object(tmp_path / "c", trusted="nowhere")


@FORMATS
def test_a_class_that_moved_is_found_where_it_is_now(elsewhere, tmp_path, use_msgpack):
    _saved_by(elsewhere, tmp_path / "c", use_msgpack=use_msgpack)
    with pytest.raises(ClassNotFoundError):
        Weights.from_checkpoint(tmp_path / "c")
    tc.register_renamed("elsewhere_package:Elsewhere", "tests.between:Weights")
    tc.register_renamed("tests.between:Weights", "tests.agents:Weights")
    found = Weights.from_checkpoint(tmp_path / "c", size=2)
    assert type(found) is Weights
    assert found.w.tolist() == [5, 0]


@pytest.mark.parametrize(
    ("old", "new"), [("a.B", "c:D"), ("a:B", "c"), ("a:B", ":D"), ("a:B", "a:B"), ("x:Y", "a:A")]
)
def test_names_that_are_none_or_lead_in_a_circle_are_refused(old, new):
    tc.register_renamed("a:A", "x:Y")
    with pytest.raises(InvalidArgumentError):
        tc.register_renamed(old, new)


# ------------------------------------------------------------------------------- the constructor


class Built(Weights):
    """Takes classes and functions as arguments."""

    def __init__(self, kind=None, function=None, *, parts=()):
        super().__init__(1)
        self.arguments = kind, function, parts

    def get_ctor_args_and_kwargs(self):
        kind, function, parts = self.arguments
        return (kind, function), {"parts": parts}


def test_of_a_class_that_was_defined_again_the_newest_is_made(tmp_path):
    def defined(base=Weights):
        return type("Again", (base,), {"__module__": "__main__", "__qualname__": "Again"})

    first, second = defined(), defined()
    derived = defined(second)  # as Ray makes one in an actor
    first(2).save_to_path(tmp_path / "c")
    assert type(tc.restore_object(tmp_path / "c")) is second
    assert type(first.from_checkpoint(tmp_path / "c")) is first
    assert type(derived.from_checkpoint(tmp_path / "c")) is derived


@FORMATS
def test_harmless_classes_come_back_as_themselves(tmp_path, use_msgpack):
    arguments = (float, None, [np.float32, {"own": Built}, OrderedDict(a={int})])
    Built(arguments[0], parts=arguments[2]).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    assert Built.from_checkpoint(tmp_path / "c").arguments == arguments


@FORMATS
def test_other_classes_and_functions_need_trust(tmp_path, use_msgpack):
    saved = Built(textwrap.TextWrapper, parts=[Agent])
    saved.save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    error = UntrustedTypesError if use_msgpack else UntrustedPickleError
    with pytest.raises(error, match="textwrap:TextWrapper") as caught:
        Built.from_checkpoint(tmp_path / "c")
    assert "tests.agents:Agent" in caught.value.names
    assert not use_msgpack or "trusted=['tests.agents', 'textwrap']" in str(caught.value)
    found = Built.from_checkpoint(tmp_path / "c", trusted=["textwrap", "tests"])
    assert found.arguments == saved.arguments


class Table(tc.Checkpointable, dict):
    """Of a class like this one, Python cannot tell what arguments it takes."""

    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {**self}

    def set_state(self, state):
        self.update(state)

    def get_ctor_args_and_kwargs(self):
        return (), {"size": self["size"]}


@FORMATS
def test_a_class_without_a_signature_is_constructed(tmp_path, use_msgpack):
    Table(size=1, w=2).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    assert Table.from_checkpoint(tmp_path / "c") == {"size": 1, "w": 2}


def test_a_class_above_all_others_is_no_answer_to_which_class_it_is(tmp_path):
    Weights().save_to_path(tmp_path / "c")
    with pytest.raises(InvalidArgumentError, match="cls=<class 'object'>"):
        tc.restore_object(tmp_path / "c", object)


def test_an_argument_that_is_given_needs_no_trust(tmp_path):
    Built(function=textwrap.fill).save_to_path(tmp_path / "c", use_msgpack=True)
    with pytest.raises(UntrustedTypesError, match=r"trusted=\['textwrap'\]"):
        Built.from_checkpoint(tmp_path / "c")
    assert Built.from_checkpoint(tmp_path / "c", function=print).arguments[1] is print


def test_arguments_that_no_longer_fit_are_named(tmp_path, monkeypatch):
    trained().save_to_path(tmp_path / "c")
    monkeypatch.setattr(Agent, "__init__", lambda self, width: None)
    with pytest.raises(ConstructorError, match=r"tests\.agents:Agent .*'name'"):
        Agent.from_checkpoint(tmp_path / "c")


@pytest.mark.parametrize("use_msgpack", [True, False], ids=["msgpack", "pickle"])
def test_what_is_no_pair_of_arguments_is_told(tmp_path, use_msgpack, monkeypatch):
    monkeypatch.setattr(Weights, "get_ctor_args_and_kwargs", lambda self: {"size": 1})
    error = InvalidArgumentError if use_msgpack else CorruptDataError
    with pytest.raises(error, match=r"get_ctor_args_and_kwargs\(\)=|no constructor arguments"):
        Weights.from_checkpoint(Weights().save_to_path(tmp_path / "c", use_msgpack=use_msgpack))


class Optioned(Weights):
    """Its constructor has arguments of the same names as our options."""

    def __init__(self, device="cpu", strict=1):
        super().__init__(1)
        self.options = device, strict

    def get_ctor_args_and_kwargs(self):
        return self.options, {}


def test_arguments_of_the_constructor_come_before_options(tmp_path):
    Optioned().save_to_path(tmp_path / "c")
    found = Optioned.from_checkpoint(tmp_path / "c", device="meta", strict=2)
    assert found.options == ("meta", 2)


# -------------------------------------------------------------------------------------- states


@dataclass
class Point:
    x: int


def test_trusted_classes_in_a_pickled_state_are_made(elsewhere, tmp_path):
    saved = elsewhere.Elsewhere()
    saved.config = [elsewhere.Config(3), Point(4)]
    saved.save_to_path(tmp_path / "c")
    target = elsewhere.Elsewhere()
    with pytest.raises(UntrustedPickleError):
        target.restore_from_path(tmp_path / "c", trusted="elsewhere_package")
    target.restore_from_path(tmp_path / "c", trusted=["elsewhere_package", "tests"])
    assert target.config[0].depth == 3
    assert target.config[1] == Point(4)
    del elsewhere.Config
    with pytest.raises(ClassNotFoundError, match=r"state\.pkl .*elsewhere_package:Config"):
        target.restore_from_path(tmp_path / "c", trusted=["elsewhere_package", "tests"])


def test_a_trusted_class_in_a_pickled_state_may_have_another_name_by_now(elsewhere, tmp_path):
    saved = elsewhere.Elsewhere()
    saved.config = elsewhere.Config(3)
    saved.save_to_path(tmp_path / "c")
    elsewhere.Config.__qualname__ = "Settings"  # and Config is an alias
    target = elsewhere.Elsewhere()
    target.restore_from_path(tmp_path / "c", trusted="elsewhere_package")
    assert target.config.depth == 3
    elsewhere.Settings = elsewhere.Config
    del elsewhere.Config
    tc.register_renamed("elsewhere_package:Config", "elsewhere_package:Settings")
    target.restore_from_path(tmp_path / "c", trusted="elsewhere_package")
    assert type(target.config) is elsewhere.Settings


@pytest.mark.parametrize(
    ("name", "told"),
    [("fill", "needs:\n.*textwrap:fill"), ("np.save", "into another module, numpy")],
)
def test_what_a_trusted_module_imports_is_not_trusted_with_it(elsewhere, tmp_path, name, told):
    elsewhere.fill = textwrap.fill
    tc.save_state({"function": tc.Reference(f"elsewhere_package:{name}")}, tmp_path / "c")
    with pytest.raises((ClassNotFoundError, UntrustedTypesError), match=told):
        tc.restore({"function": None}, tmp_path / "c", trusted="elsewhere_package")


def test_classes_in_a_msgpack_state_are_inert_unless_trusted(elsewhere, tmp_path):
    saved = elsewhere.Elsewhere()
    saved.config = {"kind": (elsewhere.Config,)}
    saved.save_to_path(tmp_path / "c", use_msgpack=True)
    target = elsewhere.Elsewhere()
    target.restore_from_path(tmp_path / "c")
    assert target.config == {"kind": (tc.Reference("elsewhere_package:Config"),)}
    target.restore_from_path(tmp_path / "c", trusted=["elsewhere_package"])
    assert target.config == {"kind": (elsewhere.Config,)}


# ------------------------------------------------------------- arguments that msgpack cannot hold


class Making(Weights):
    def __init__(self, size=1, make=None, **more):
        super().__init__(size)
        self.make, self.more = make, more

    def get_ctor_args_and_kwargs(self):
        return (self.size, self.make), self.more


def test_arguments_that_msgpack_cannot_hold_are_left_out_and_asked_for(tmp_path, caplog):
    Making(3, lambda: 0, depth=2, other=object()).save_to_path(tmp_path / "c", use_msgpack=True)
    assert "test_classes:Making, which are left out: make, other" in caplog.text
    with pytest.raises(ConstructorError, match="were left out: make, other"):
        Making.from_checkpoint(tmp_path / "c")
    Making().restore_from_path(tmp_path / "c")


def test_given_again_they_are_used(tmp_path):
    Making(3, lambda: 0, depth=2).save_to_path(tmp_path / "c", use_msgpack=True)
    with pytest.raises(ConstructorError, match="were left out: make"):
        Making.from_checkpoint(tmp_path / "c", size=4)
    copied = tc.convert_to_msgpack_checkpoint(tmp_path / "c", tmp_path / "d")
    with pytest.raises(ConstructorError, match="were left out: make"):
        Making.from_checkpoint(copied)
    found = Making.from_checkpoint(copied, make=print)
    assert (found.size, found.make, found.more) == (3, print, {"depth": 2})
    found = Making.from_checkpoint(copied, make=print, depth=4, size=5, unknown_option=0)
    assert (found.size, found.make, found.more) == (5, print, {"depth": 4})


class Nameless(Weights):
    def __init__(self, *parts):
        super().__init__(1)
        self.parts = parts

    def get_ctor_args_and_kwargs(self):
        return self.parts, {}


def test_arguments_without_a_name_are_refused(tmp_path):
    with pytest.raises(UnsupportedStateError, match=r"ctor_args_and_kwargs/0/1: function"):
        Nameless(1, lambda: 0).save_to_path(tmp_path / "c", use_msgpack=True)
