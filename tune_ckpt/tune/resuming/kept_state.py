"""The scheduler's state that a `CheckpointCallback` kept with a sweep, if it is that sweep's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray import cloudpickle

from tune_ckpt.errors import PickleReadError
from tune_ckpt.tune.callback import SCHEDULER
from tune_ckpt.tune.resuming.place import Place
from tune_ckpt.tune.resuming.portable import PORTABLE
from tune_ckpt.tune.resuming.replay import is_timeless
from tune_ckpt.tune.resuming.snapshot import Snapshot
from tune_ckpt.tune.resuming.state_files import CALLBACKS, StateFiles


@dataclass(frozen=True)
class KeptState:
    """What was kept of a scheduler.

    Attributes:
        packed: A `Snapshot` as bytes; None where there is none that can be used.
        unfit: Why the one that there is cannot be used.
    """

    packed: bytes | None = None
    unfit: str = ""

    @classmethod
    def find(cls, files: StateFiles, scheduler: Any, trials: list[Any], place: Place) -> KeptState:
        """Return what was kept, if it is of this scheduler and these trials; loads the pickle.

        Raises:
            PickleReadError: It cannot be read here.
        """
        if is_timeless(scheduler) or CALLBACKS not in files.names:
            return cls()
        try:
            packed = _packed(files)
            unfit = Snapshot.unfit(packed, scheduler, trials) if packed else ""
            if packed and not unfit:  # else it would fail when the sweep has begun
                Snapshot.unpack(packed, trials, place.fs_path, place.filesystem)
        except Exception as error:  # whatever the pickle's own code raises
            reason = f"{type(error).__name__}: {error}; {PORTABLE}"
            raise PickleReadError(files.store.path(files.names[CALLBACKS]), reason) from error
        return cls(None if unfit else packed, unfit)

    def note(self, scheduler: Any, packed: bytes | None) -> str:
        """Say how a scheduler goes on.

        Args:
            scheduler: The scheduler.
            packed: The state that it is given, kept or made again.
        """
        if self.packed is not None:
            return "the scheduler goes on with the state that it had"
        why = f", as the one that was kept is {self.unfit}" if self.unfit else ""
        if packed is not None:
            return f"the scheduler's state was made again from the trials' results{why}"
        if is_timeless(scheduler):
            return "the scheduler has no state"
        return f"the scheduler begins anew: nothing tells its state (see tune_ckpt.resume){why}"


def _packed(files: StateFiles) -> bytes | None:
    states = cloudpickle.loads(files.store.read_bytes(files.names[CALLBACKS]))
    found = (state.get(SCHEDULER) for state in states.values() if isinstance(state, dict))
    return next((packed for packed in found if packed), None)
