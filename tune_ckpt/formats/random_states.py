"""Random generators as rows of the typed dialect: Python's and NumPy's, continued to the bit.

What ``random.getstate()`` and a NumPy ``bit_generator.state`` return is plain data and needs no
row; these are the generator objects themselves.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

from tune_ckpt.formats.extensions import Refused, Row, expect, register

if TYPE_CHECKING:
    from tune_ckpt.formats.packing import Packing
    from tune_ckpt.formats.unpacking import Unpacking

BIT_GENERATORS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        np.random.MT19937,
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.Philox,
        np.random.SFC64,
    )
}
_ENTROPY_BITS = 2**16


def _write_python(value: random.Random, _: Packing) -> list[Any]:
    if vars(value).keys() - {"gauss_next"}:
        raise Refused("this Random has attributes of its own")
    return [value.getstate()]


def _read_python(_: Unpacking, state: Any) -> random.Random:
    generator = random.Random(0)
    generator.setstate(expect(tuple, state))
    return generator


def _write_bits(value: Any, _: Packing) -> list[Any]:
    seed = value.seed_seq if hasattr(value, "seed_seq") else value._seed_seq  # before NumPy 1.25
    return [type(value).__name__, value.state, seed]


def _read_bits(unpacking: Unpacking, name: Any, state: Any, seed: Any) -> Any:
    if not (seed is None or type(seed) is np.random.SeedSequence):
        raise TypeError("a generator whose seed is not a SeedSequence")
    unpacking.settle()  # the state is about to be copied
    check_state(expect(dict, state))
    bits = BIT_GENERATORS[name](0 if seed is None else seed)
    bits.state = state
    if seed is None and isinstance(bits.__reduce__()[2], tuple):
        bits.__setstate__((state, None))
    return bits


def check_state(state: dict[str, Any]) -> None:
    """Check the state of a bit generator: NumPy believes it, and would read beyond its buffer.

    Raises:
        ValueError, TypeError: It is not one.
    """
    place, end = state["state"].get("pos", 0), state.get("buffer_pos", 0)
    if not (0 <= expect(int, place) <= 624 and 0 <= expect(int, end) <= 4):
        raise ValueError("a position beyond the buffer of a generator")
    if not all(map(_is_unsigned, [*state["state"].values(), *state.values()])):
        raise TypeError("a generator's state that is not made of unsigned integers")


def _is_unsigned(value: Any) -> bool:
    if type(value) is np.ndarray:
        return bool(value.dtype.kind == "u")
    return type(value) in (str, dict) or (type(value) is int and value >= 0)


def _write_seed(value: Any, packing: Packing) -> list[Any]:
    if type(value) is not np.random.SeedSequence:
        raise Refused(f"a seed sequence of type {type(value).__name__} is not known")
    _check_entropy(value.entropy, value.spawn_key)
    parts = packing.guard([value.entropy, value.spawn_key])
    return [*parts, value.pool_size, value.n_children_spawned]


def _read_seed(
    unpacking: Unpacking, entropy: Any, spawn_key: Any, pool_size: Any, spawned: Any
) -> np.random.SeedSequence:
    unpacking.settle()
    return seed_sequence(entropy, expect(tuple, spawn_key), pool_size, expect(int, spawned))


def seed_sequence(
    entropy: Any, spawn_key: Any, pool_size: Any, spawned: int
) -> np.random.SeedSequence:
    """Return a seed sequence of what was read.

    Raises:
        ValueError, TypeError, Refused: Of this, none can be made in a bearable time.
    """
    if not 4 <= expect(int, pool_size) <= 1024:  # it is allocated
        raise ValueError(f"a seed sequence's pool of {pool_size} words")
    _check_entropy(entropy, spawn_key)
    return np.random.SeedSequence(
        entropy, spawn_key=spawn_key, pool_size=pool_size, n_children_spawned=spawned
    )


def _check_entropy(*parts: Any) -> None:
    # Mixing it in takes time that grows with the square.
    if sum(map(_bits, parts)) > _ENTROPY_BITS:
        raise Refused(f"a seed sequence of more than {_ENTROPY_BITS} bits of entropy")


def _bits(entropy: Any) -> int:
    if isinstance(entropy, list | tuple | np.ndarray):
        return sum(map(_bits, entropy)) if len(entropy) <= _ENTROPY_BITS // 32 else 2**32
    if not isinstance(entropy, int | np.integer | None):
        raise Refused(f"a seed of type {type(entropy).__name__}")
    return max(32, int(entropy or 0).bit_length())


def _read_generator(_: Unpacking, bits: Any) -> np.random.Generator:
    return np.random.Generator(expect_bits(bits))


def expect_bits(bits: Any) -> Any:
    """Return what has to be a bit generator.

    Raises:
        TypeError: It is something else.
    """
    if type(bits) not in BIT_GENERATORS.values():
        raise TypeError("a generator without its bits")
    return bits


def _write_legacy(value: Any, _: Packing) -> list[Any]:
    state = value.get_state(legacy=False)
    return [value._bit_generator, state["has_gauss"], state["gauss"]]


def _read_legacy(_: Unpacking, bits: Any, has_gauss: Any, gauss: Any) -> np.random.RandomState:
    generator = np.random.RandomState(expect_bits(bits))
    parts = {"has_gauss": expect(int, has_gauss), "gauss": expect(float, gauss)}
    generator.set_state({**bits.state, **parts})
    return generator


def _write_generator(value: np.random.Generator, _: Packing) -> list[Any]:
    return [value.bit_generator]


register(Row(70, "Random", _write_python, _read_python, identity=id), random.Random)
register(
    Row(71, "Generator", _write_generator, _read_generator, identity=id),
    np.random.Generator,
)
register(Row(72, "RandomState", _write_legacy, _read_legacy, identity=id), np.random.RandomState)
register(Row(73, "SeedSequence", _write_seed, _read_seed, identity=id), np.random.SeedSequence)
register(Row(74, "bit generator", _write_bits, _read_bits, identity=id), *BIT_GENERATORS.values())
