"""Random generators as rows of the typed dialect: Python's and NumPy's, continued to the bit.

What ``random.getstate()`` and a NumPy ``bit_generator.state`` return is plain data and needs no
row; these are the generator objects themselves.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_ckpt.formats.extensions import Refused, Row, register

if TYPE_CHECKING:
    from tune_ckpt.formats.msgpack import Packing, Unpacking

_BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (
        np.random.MT19937,
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.Philox,
        np.random.SFC64,
    )
}


def _write_python(value: random.Random, _: Packing) -> list[Any]:
    return [value.getstate()]


def _read_python(_: Unpacking, state: Any) -> random.Random:
    generator = random.Random()
    generator.setstate(state)
    return generator


def _write_bits(value: Any, _: Packing) -> list[Any]:
    return [type(value).__name__, value.state, value.seed_seq]


def _read_bits(_: Unpacking, name: Any, state: Any, seed: Any) -> Any:
    bits = _BIT_GENERATORS[name](seed)
    bits.state = state
    return bits


def _write_seed(value: Any, _: Packing) -> list[Any]:
    if type(value) is not np.random.SeedSequence:
        raise Refused(f"a seed sequence of type {type(value).__name__} is not known")
    return [value.entropy, value.spawn_key, value.pool_size, value.n_children_spawned]


def _read_seed(
    _: Unpacking, entropy: Any, spawn_key: Any, pool_size: Any, spawned: Any
) -> np.random.SeedSequence:
    if not 4 <= pool_size <= 1024:  # it is allocated
        raise ValueError(f"a seed sequence's pool of {pool_size} words")
    return np.random.SeedSequence(
        entropy, spawn_key=spawn_key, pool_size=pool_size, n_children_spawned=spawned
    )


def _read_generator(_: Unpacking, bits: Any) -> np.random.Generator:
    return np.random.Generator(bits)


def _write_legacy(value: np.random.RandomState, _: Packing) -> list[Any]:
    return [value.get_state(legacy=False)]


def _read_legacy(_: Unpacking, state: Any) -> np.random.RandomState:
    generator = np.random.RandomState(_BIT_GENERATORS[state["bit_generator"]](0))
    generator.set_state(state)
    return generator


def _register() -> None:
    seed = Row(73, "SeedSequence", _write_seed, _read_seed, identity=id)
    bits = Row(74, "NumPy bit generator", _write_bits, _read_bits, identity=id)
    generator = Row(
        71, "Generator", lambda value, _: [value.bit_generator], _read_generator, identity=id
    )
    register(Row(70, "Random", _write_python, _read_python, identity=id), random.Random)
    register(seed, np.random.SeedSequence)
    register(bits, *_BIT_GENERATORS.values())
    register(generator, np.random.Generator)
    register(
        Row(72, "RandomState", _write_legacy, _read_legacy, identity=id), np.random.RandomState
    )


_register()
