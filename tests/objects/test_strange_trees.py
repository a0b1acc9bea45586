"""Class trees that ask a lot of the walk; RLlib's base class and ours make the same of them."""

import os
from collections import OrderedDict

import msgpack
import numpy as np
import pytest

import tune_ckpt
from tune_ckpt.errors import UnsupportedComponentError

pytestmark = pytest.mark.slow  # RLlib takes seconds to import


@pytest.fixture(params=["RLlib's", "ours"])
def base(request):
    """The base class of all that a test defines."""
    before = dict(vars(msgpack))
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    from ray.rllib.utils.checkpoints import Checkpointable

    yield Checkpointable if request.param == "RLlib's" else tune_ckpt.Checkpointable
    vars(msgpack).update(before)  # RLlib patches it


@pytest.fixture
def leaf(base):
    class Leaf(base):
        def __init__(self, value=0):
            self.value = value

        def get_state(self, components=None, *, not_components=None, **kwargs):
            return {"value": self.value}

        def set_state(self, state):
            self.value = state["value"]

        def get_ctor_args_and_kwargs(self):
            return (), {}

    return Leaf


@pytest.fixture
def owner(leaf):
    """It forwards what it is asked for, as RLlib's own classes do."""

    class Owner(leaf):
        def __init__(self, value=0, **parts):
            super().__init__(value)
            self.parts = parts

        def get_state(self, components=None, *, not_components=None, **kwargs):
            state = {}
            if self._check_component("value", components, not_components):
                state["value"] = self.value
            for name, part in self.parts.items():
                if self._check_component(name, components, not_components):
                    state[name] = part.get_state(
                        components=self._get_subcomponents(name, components),
                        not_components=self._get_subcomponents(name, not_components),
                        **kwargs,
                    )
            return state

        def set_state(self, state):
            self.value = state.get("value", self.value)

        def get_checkpointable_components(self):
            return list(self.parts.items())

    return Owner


@pytest.fixture(params=[False, True], ids=["pickle", "msgpack"])
def through(request, tmp_path):
    """Save one object, and restore another from that; return it."""

    def run(saved, target, **options):
        saved.save_to_path(tmp_path / "c", use_msgpack=request.param, **options)
        target.restore_from_path(tmp_path / "c")
        return target

    return run


def test_a_diamond_of_classes(leaf, through):
    def adding(name):
        class Adding:
            def get_state(self, components=None, **kwargs):
                return {**super().get_state(components, **kwargs), name: getattr(self, name)}

            def set_state(self, state):
                super().set_state(state)
                setattr(self, name, state[name])

        return Adding

    class Left(adding("left"), leaf):
        left = 0

    class Right(adding("right"), leaf):
        right = 0

    class Both(Left, Right):
        pass

    saved = Both(1)
    saved.left, saved.right = 2, 3
    found = through(saved, Both())
    assert (found.value, found.left, found.right) == (1, 2, 3)


def test_one_component_in_two_places(leaf, owner, through):
    shared, target = leaf(5), leaf()
    through(owner(1, a=shared, b=owner(2, c=shared)), owner(0, a=target, b=owner(0, c=target)))
    assert target.value == 5


@pytest.mark.parametrize("name", ["two words", "größe", "x.y", "~#%", "it's", "[b]", "-a", "😀"])
def test_odd_names(leaf, owner, through, name):
    assert through(owner(**{name: leaf(5)}), owner(**{name: leaf()})).parts[name].value == 5


def test_components_as_a_generator(leaf, owner, through):
    class Generating(owner):
        def get_checkpointable_components(self):
            yield from self.parts.items()

    found = through(Generating(1, a=leaf(2)), Generating(a=leaf()))
    assert (found.value, found.parts["a"].value) == (1, 2)


def test_components_that_depend_on_the_state(leaf, owner, through):
    class Revealing(owner):
        def get_checkpointable_components(self):
            return [(name, part) for name, part in self.parts.items() if name == "a" or self.value]

    found = through(Revealing(1, a=leaf(2), b=leaf(3)), Revealing(0, a=leaf(), b=leaf()))
    assert [part.value for part in found.parts.values()] == [2, 3]


def test_an_owner_is_asked_for_all_but_its_components_then_for_them(leaf, owner, through):
    class Secretive(owner):
        def get_state(self, components=None, *, not_components=None, **kwargs):
            if components is None:
                return {"value": self.value, "without": list(not_components or [])}
            assert "a" in components
            return {"a": {"value": self.parts["a"].value + 100}}

        def set_state(self, state):
            self.state = state

    found = through(Secretive(1, a=leaf(5)), Secretive(a=leaf()))
    assert found.state == {"value": 1, "without": ["a"]}
    assert found.parts["a"].value == 105


def test_an_owner_that_ignores_what_it_is_asked_for(leaf, owner, through):
    class Ignoring(owner):
        def get_state(self, *args, **kwargs):
            parts = {name: part.get_state() for name, part in self.parts.items()}
            return {"value": self.value, **parts}

    found = through(Ignoring(1, a=leaf(5)), Ignoring(a=leaf()))
    assert (found.value, found.parts["a"].value) == (1, 5)


@pytest.mark.parametrize("state", [[1, 2], None, 3.5, "text"])
def test_a_state_that_is_no_dict(leaf, through, state):
    class Odd(leaf):
        def get_state(self, *args, **kwargs):
            return self.value

        def set_state(self, state):
            self.value = state

    assert through(Odd(state), Odd()).value == state


def test_a_given_state_with_some_of_the_components_of_components(leaf, owner, through):
    saved = owner(1, a=leaf(2), b=owner(3, c=leaf(4), d=leaf(5)))
    target = owner(0, b=owner(0, d=leaf()))
    through(saved, target, state={"value": 6, "b": {"value": 7, "d": {"value": 8}}})
    values = target.value, target.parts["b"].value, target.parts["b"].parts["d"].value
    assert values == (6, 7, 8)


# --------------------------------------------------------------------------- where ours does more


class Whole(tune_ckpt.Checkpointable):
    """Its state is what it was given."""

    def __init__(self, state=None):
        self.state = state

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.state = state


@pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])
def test_the_type_of_a_state_is_kept(tmp_path, use_msgpack):
    Whole(OrderedDict(b=np.ones(2), a=1)).save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    found = Whole.from_checkpoint(tmp_path / "c").state
    assert type(found) is OrderedDict
    assert list(found) == ["b", "a"]


class Holding(Whole):
    def __init__(self, *parts):
        super().__init__({})
        self.parts = parts

    def get_checkpointable_components(self):
        return [(f"part{number}", part) for number, part in enumerate(self.parts)]


def test_a_component_that_contains_itself_is_refused(tmp_path):
    first = Holding(second := Holding())
    second.parts = (first,)
    with pytest.raises(UnsupportedComponentError, match="one contains itself"):
        first.save_to_path(tmp_path / "c")
    assert not list(tmp_path.iterdir())
    Holding(Holding()).save_to_path(tmp_path / "c")
    with pytest.raises(UnsupportedComponentError, match="one contains itself"):
        first.restore_from_path(tmp_path / "c")
