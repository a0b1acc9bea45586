"""The process's random generators as a component, so that a resumed run continues to the bit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tune_ckpt.checkpointable import Checkpointable
from tune_ckpt.objects.random_generators import random_state, set_random_state


class RngState(Checkpointable):
    """The global random generators: Python's, NumPy's, and torch's on the CPU and all GPUs.

    It is saved like any component, and restored after all others: what is drawn while those are
    built does not disturb it. NumPy's new generators (``np.random.default_rng()``) are not global:
    they are values, and belong in a state.

    torch's are included where torch is loaded when the state is taken. A state of more GPUs than
    the process has is given to those that there are.
    """

    restored_last = True

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the generators' states."""
        return random_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Let the generators continue from these states.

        Raises:
            MissingDependencyError: There is a state of torch's, which is not installed.
        """
        set_random_state(state)
