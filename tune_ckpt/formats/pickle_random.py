"""Random generators in pickles, Python's and NumPy's: continued to the bit, or refused.

NumPy believes a generator's state, and would read beyond its buffer. So it is checked first.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from tune_ckpt.formats.pickle_build import Make
from tune_ckpt.formats.pickle_nodes import Node
from tune_ckpt.formats.random_states import (
    BIT_GENERATORS,
    check_state,
    expect_bits,
    seed_sequence,
)


def _python(node: Node) -> random.Random:
    generator = random.Random()
    generator.setstate(node.state)
    return generator


def _bits(node: Node) -> Any:
    (kind,) = node.args
    state, seed = node.state if isinstance(node.state, tuple) else (node.state, None)
    if not (seed is None or isinstance(seed, np.random.SeedSequence)):
        raise TypeError(f"a generator seeded by a {type(seed).__name__}")
    bits = BIT_GENERATORS[kind if isinstance(kind, str) else kind.__name__](seed)
    return bits if state is None else _with_state(bits, state)


def _with_state(bits: Any, state: Any) -> Any:
    check_state(state)
    bits.state = state
    return bits


def _bits_of(node: Node) -> Any:
    kind = node.args[0]
    return BIT_GENERATORS[kind]() if isinstance(kind, str) else expect_bits(kind)


def _generator(node: Node) -> np.random.Generator:
    bits = _bits_of(node)
    return np.random.Generator(bits if node.state is None else _with_state(bits, node.state))


def _random_state(node: Node) -> np.random.RandomState:
    generator = np.random.RandomState(_bits_of(node))
    own = {"has_gauss", "gauss"}
    check_state({name: part for name, part in node.state.items() if name not in own})
    generator.set_state(node.state)
    return generator


def _seed(node: Node) -> np.random.SeedSequence:
    entropy, spawned, _, pool_size, spawn_key = node.state or node.args[2]
    return seed_sequence(entropy, spawn_key, pool_size, spawned)


VALUES: dict[str, object] = {
    "random:Random": random.Random,
    "numpy.random._mt19937:MT19937": np.random.MT19937,
    "numpy.random._pcg64:PCG64": np.random.PCG64,
    "numpy.random._pcg64:PCG64DXSM": np.random.PCG64DXSM,
    "numpy.random._philox:Philox": np.random.Philox,
    "numpy.random._sfc64:SFC64": np.random.SFC64,
    "numpy.random.bit_generator:SeedSequence": np.random.SeedSequence,
}

CALLS: dict[str, Make] = {
    "random:Random": _python,
    "numpy.random._pickle:__bit_generator_ctor": _bits,
    "numpy.random._pickle:__generator_ctor": _generator,
    "numpy.random._pickle:__randomstate_ctor": _random_state,
    "numpy.random.bit_generator:__pyx_unpickle_SeedSequence": _seed,
}
