"""Random generators as a component."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

import tune_ckpt as tc
from tests.agents import Weights
from tune_ckpt.errors import MissingDependencyError, RestoreError
from tune_ckpt.objects.random_generators import undisturbed

FORMATS = pytest.mark.parametrize("use_msgpack", [False, True], ids=["pickle", "msgpack"])


def draw():
    return (
        [random.random(), random.gauss(0, 1), random.getrandbits(70)],
        [np.random.rand(), np.random.randn(), np.random.permutation(9).tolist()],
        [torch.rand(2).tolist(), torch.randn(2).tolist(), torch.randperm(9).tolist()],
    )


def reseed():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)


@FORMATS
def test_all_generators_continue_to_the_bit(tmp_path, use_msgpack):
    draw()  # half of a pair of normal numbers is left over, which belongs to the state
    tc.RngState().save_to_path(tmp_path / "c", use_msgpack=use_msgpack)
    expected = draw()
    reseed()
    tc.RngState.from_checkpoint(tmp_path / "c")
    assert draw() == expected


class Owner(Weights):
    """Builds something random when it takes its state."""

    def __init__(self):
        super().__init__(1)
        self.rng, self.other = tc.RngState(), Weights(1)

    def set_state(self, state):
        draw()

    def get_checkpointable_components(self):
        return [("rng", self.rng), ("other", self.other)]

    def get_ctor_args_and_kwargs(self):
        return (), {}


def test_a_component_of_a_tree_is_restored_last(tmp_path):
    Owner().save_to_path(tmp_path / "c")
    expected = draw()
    reseed()
    Owner.from_checkpoint(tmp_path / "c")
    assert draw() == expected


def test_saving_draws_nothing(tmp_path):
    with undisturbed():
        expected = draw()
    Owner().save_to_path(tmp_path / "c")
    assert draw() == expected


def test_generators_are_not_touched_where_something_does_not_fit(tmp_path):
    tc.save({"rng": tc.RngState(), "a": Weights(1)}, tmp_path / "c")
    reseed()
    with undisturbed():
        expected = draw()
    with pytest.raises(tc.TuneCkptError):
        tc.restore({"rng": tc.RngState(), "b": Weights(1)}, tmp_path / "c")
    assert draw() == expected


def test_without_torch_the_others_are_saved_and_torchs_state_asks_for_it(tmp_path, monkeypatch):
    code = (
        "import sys, tune_ckpt as tc\n"
        f"tc.save({{'rng': tc.RngState()}}, {str(tmp_path / 'light')!r})\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert tc.load_state(tmp_path / "light", "rng").keys() == {"python", "numpy"}
    tc.restore({"rng": tc.RngState()}, tmp_path / "light")
    tc.save({"rng": tc.RngState()}, tmp_path / "c")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match="pip install torch"):
        tc.restore({"rng": tc.RngState()}, tmp_path / "c")


OWN = {
    "python": (random.Random, lambda one: one.random()),
    "former": (np.random.RandomState, lambda one: one.rand()),
    "numpy": (np.random.default_rng, lambda one: one.random()),
    "mersenne": (
        lambda seed: np.random.Generator(np.random.MT19937(seed)),
        lambda one: one.random(),
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_generator_of_ones_own_goes_on_in_place(tmp_path, kind):
    make, draw_one = OWN[kind]
    saved, mine = make(1), make(2)
    draw_one(saved)
    tc.save({"rng": saved, "nested": {"deep": saved, "w": 1}}, tmp_path / "c")
    expected = draw_one(saved)
    parts = {"rng": mine, "nested": {"deep": make(3), "w": 0}}
    found = tc.restore(parts, tmp_path / "c")
    assert found["rng"] is mine
    assert draw_one(mine) == expected
    assert found["nested"]["deep"] is parts["nested"]["deep"]
    assert found["nested"]["w"] == 1


def test_the_seeds_of_what_a_generator_spawns_go_on_too(tmp_path):
    saved, mine = np.random.default_rng(1), np.random.default_rng(2)
    saved.spawn(3)
    tc.save({"rng": saved}, tmp_path / "c")
    tc.restore({"rng": mine}, tmp_path / "c")
    assert mine.spawn(1)[0].random() == saved.spawn(1)[0].random()


def test_a_generator_of_another_kind_is_left_as_it_is(tmp_path):
    saved, mine = np.random.default_rng(1), OWN["mersenne"][0](2)
    tc.save({"rng": saved}, tmp_path / "c")
    before = mine.bit_generator.state["state"]["key"].tolist()
    assert tc.restore({"rng": mine}, tmp_path / "c")["rng"].random() == saved.random()
    assert mine.bit_generator.state["state"]["key"].tolist() == before
    assert tc.restore({"rng": None}, tmp_path / "c")["rng"].random() != saved.random()


def test_a_restore_that_fails_leaves_generators_as_they_are(tmp_path):
    tc.save({"rng": np.random.default_rng(1), "w": 1}, tmp_path / "c")
    mine = np.random.default_rng(2)
    with pytest.raises(RestoreError):
        tc.restore({"rng": mine, "w": 0, "lacking": 0}, tmp_path / "c")
    assert mine.random() == np.random.default_rng(2).random()
