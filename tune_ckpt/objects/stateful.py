"""What the author of a component defines: its state, its arguments, what it consists of."""

from __future__ import annotations

import abc
import sys
from typing import Any

from tune_ckpt.objects.object_states import StateDict
from tune_ckpt.objects.selection import Patterns, asked_below, is_asked_for
from tune_ckpt.tree.layout import CHECKPOINT_VERSION


class Stateful(abc.ABC):
    """What a `tune_ckpt.Checkpointable` tells of itself; its methods are RLlib's.

    A component may also have a method ``selftest()``: it returns arrays that follow from the state,
    such as a model's outputs for fixed inputs. They are saved too, and must be the same after a
    restore, to within the class attribute ``selftest_tolerance`` (0 by default).

    Attributes:
        METADATA_FILE_NAME: The name of the metadata file; it ends with ``.json``.
        CLASS_AND_CTOR_ARGS_FILE_NAME: That of the file of class and arguments; it ends with
            ``.pkl``, in whose place there is ``.msgpack`` where that is the format.
        STATE_FILE_NAME: That of the state's file, without a suffix.
    """

    METADATA_FILE_NAME = "metadata.json"
    CLASS_AND_CTOR_ARGS_FILE_NAME = "class_and_ctor_args.pkl"
    STATE_FILE_NAME = "state"

    @abc.abstractmethod
    def get_state(
        self,
        components: Patterns | None = None,
        *,
        not_components: Patterns | None = None,
        **kwargs: Any,
    ) -> StateDict:
        """Return the state: nested dicts of plain values and arrays.

        Args:
            components: Names of the parts wanted; None for all.
            not_components: Names of parts that are not wanted.
            kwargs: For forward compatibility.
        """

    @abc.abstractmethod
    def set_state(self, state: StateDict) -> None:
        """Take over a state that `get_state` returned."""

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with which an equal object can be constructed.

        What msgpack cannot hold of them, a function say, is left out with a warning: whoever has an
        object to restore needs none of them. Who wants a new one passes what was left out by
        keyword to `tune_ckpt.Checkpointable.from_checkpoint`, whose error names it.
        """
        return (), {}

    def get_metadata(self) -> dict[str, Any]:
        """Return JSON-compatible facts for ``metadata.json``; no part of the state."""
        ray = sys.modules.get("ray")  # whoever saves without Ray has no version of it to record
        return {
            "class_and_ctor_args_file": self.CLASS_AND_CTOR_ARGS_FILE_NAME,
            "state_file": self.STATE_FILE_NAME,
            "ray_version": getattr(ray, "__version__", None),
            "ray_commit": getattr(ray, "__commit__", None),
            "checkpoint_version": CHECKPOINT_VERSION,
        }

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Return the subcomponents with their names.

        Each is a `Checkpointable` (ours or RLlib's), has ``state_dict`` and ``load_state_dict``, is
        of a type known to `tune_ckpt.register_adapter`, or is a Ray actor or a group of them (see
        `tune_ckpt.ActorGroup`).
        """
        return []

    # ------------------------------------------------------------------ for subclasses to use

    def _check_component(
        self, name: str, components: Patterns | None, not_components: Patterns | None
    ) -> bool:
        """Say whether `get_state` shall include a component, by its arguments (as in RLlib)."""
        return is_asked_for(name, components, not_components)

    def _get_subcomponents(self, name: str, components: Patterns | None) -> list[str] | None:
        """Return what such an argument says of a component's own subcomponents (as in RLlib)."""
        return asked_below(name, components)
