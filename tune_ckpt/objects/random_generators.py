"""Random generators: the process's global ones (Python's, NumPy's, torch's), and others' own."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tune_ckpt.errors import MissingDependencyError


def random_state(*, wake_gpus: bool = True) -> dict[str, Any]:
    """Return the generators' states; torch's where torch is loaded.

    Args:
        wake_gpus: Ask GPUs that this process has not used yet, too, which takes memory there.
    """
    state = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return state
    has_gpus = torch.cuda.is_available() if wake_gpus else torch.cuda.is_initialized()
    gpus = torch.cuda.get_rng_state_all() if has_gpus else []
    cpu = torch.get_rng_state().numpy()
    return {**state, "torch": cpu, "torch_cuda": [gpu.numpy() for gpu in gpus]}


def set_random_state(state: dict[str, Any]) -> None:
    """Let the generators continue from these states.

    A state of more GPUs than the process has is given to those that there are.

    Raises:
        MissingDependencyError: There is a state of torch's, which is not installed.
    """
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    if "torch" in state:
        _set_torch(state["torch"], state["torch_cuda"])


def _set_torch(cpu: Any, gpus: list[Any]) -> None:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "The random state of this checkpoint") from error
    torch.set_rng_state(torch.from_numpy(cpu))
    for device, gpu in enumerate(gpus[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(torch.from_numpy(gpu), device)


def with_own_generators(restored: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return restored values in which generators are the caller's own, which go on as those would.

    Whoever gives a generator to be restored goes on with that one.

    Args:
        restored: The values by name.
        own: What the caller has by these names; only generators of the same kind are touched.
    """
    return {name: _continued(value, own.get(name)) for name, value in restored.items()}


def _continued(value: Any, own: Any) -> Any:
    if type(value) is dict and isinstance(own, Mapping):
        return with_own_generators(value, own)
    if type(value) is not type(own) or type(value) not in _GENERATORS:
        return value
    get, give = _GENERATORS[type(value)]
    state = get(value)
    if _algorithm(state) != _algorithm(get(own)):
        return value
    give(own, state)
    return own


def _algorithm(state: Any) -> Any:
    return state["bit_generator"] if isinstance(state, Mapping) else None


def _give_numpys(generator: np.random.Generator, state: Any) -> None:
    generator.bit_generator.state = state


# How the state of a generator is taken and given.
_GENERATORS: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {
    random.Random: (random.Random.getstate, random.Random.setstate),
    np.random.RandomState: (
        lambda one: one.get_state(legacy=False),
        np.random.RandomState.set_state,
    ),
    np.random.Generator: (lambda one: one.bit_generator.state, _give_numpys),
}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the generators as they were, whatever is drawn meanwhile."""
    before = random_state(wake_gpus=False)
    try:
        yield
    finally:
        set_random_state(before)
