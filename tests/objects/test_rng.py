"""Random generators as a component."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

import tune_ckpt as tc
from tests.agents import Weights
from tune_ckpt.errors import MissingDependencyError
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
