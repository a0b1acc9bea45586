"""The Ray that does the work: a cluster's, or one on this machine."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from tune_ckpt.cli import interrupts


def check_installed(purpose: str) -> None:
    """Refuse what needs Ray where that is not installed.

    Raises:
        MissingDependencyError: It is not; ``purpose`` is what needs it.
    """
    from tune_ckpt.errors import MissingDependencyError

    if find_spec("ray") is None:
        raise MissingDependencyError("ray[tune]", purpose)


def connect(address: str | None, *, log_to_driver: bool = False) -> None:
    """Connect to Ray, unless this process has done so.

    Args:
        address: The cluster's address; None for Ray's own choice.
        log_to_driver: Show what the workers print.

    Raises:
        ConnectionError: Nothing answers there.
    """
    import ray

    if ray.is_initialized():
        return
    try:
        ray.init(address, log_to_driver=log_to_driver, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        message = f"no Ray cluster at {address or 'this machine'}: {reason}"
        raise ConnectionError(message) from error
    interrupts.heed_sigterm()
