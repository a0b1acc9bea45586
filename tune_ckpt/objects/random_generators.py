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
    give = _GIVE.get(type(value)) if type(value) is type(own) else None
    return own if give is not None and give(own, value) else value


def _give_python(own: random.Random, value: random.Random) -> bool:
    own.setstate(value.getstate())
    return True


def _give_numpy(own: np.random.Generator, value: np.random.Generator) -> bool:
    if type(own.bit_generator) is not type(value.bit_generator):
        return False
    mine: Any = own.bit_generator  # NumPy's stubs leave out how it is pickled
    theirs: Any = value.bit_generator
    mine.__setstate__(theirs.__reduce__()[2])  # its state alone lacks the seeds of what it spawns
    return True


def _give_legacy_numpy(own: np.random.RandomState, value: np.random.RandomState) -> bool:
    before, after = (one.get_state(legacy=False) for one in (own, value))
    if before["bit_generator"] != after["bit_generator"]:
        return False
    own.set_state(after)
    return True


# What gives a generator the state of another, if it is of the same algorithm.
_GIVE: dict[type, Callable[[Any, Any], bool]] = {
    random.Random: _give_python,
    np.random.Generator: _give_numpy,
    np.random.RandomState: _give_legacy_numpy,
}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the generators as they were, whatever is drawn meanwhile."""
    before = random_state(wake_gpus=False)
    try:
        yield
    finally:
        set_random_state(before)
