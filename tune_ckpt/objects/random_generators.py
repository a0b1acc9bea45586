"""The process's global random generators: Python's, NumPy's, and torch's on CPU and GPUs."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
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


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the generators as they were, whatever is drawn meanwhile."""
    before = random_state(wake_gpus=False)
    try:
        yield
    finally:
        set_random_state(before)
