"""User objects to component trees and back: a drop-in for RLlib's ``Checkpointable``.

Same methods, signatures and file names as ``ray.rllib.utils.checkpoints.Checkpointable`` (Ray
2.60), without importing Ray. A subclass defines `Checkpointable.get_state` and
`Checkpointable.set_state`, usually `Checkpointable.get_ctor_args_and_kwargs`, and lists its
subcomponents in `Checkpointable.get_checkpointable_components`.
"""

from __future__ import annotations

import abc
import tempfile
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_ckpt.background import PendingSave, saver_of, settle
from tune_ckpt.components import descend
from tune_ckpt.constructing import restored_object
from tune_ckpt.errors import RestoreReport
from tune_ckpt.object_states import StateDict
from tune_ckpt.restoring import restore_into
from tune_ckpt.saving import component_of
from tune_ckpt.selection import Patterns
from tune_ckpt.tree.layout import CHECKPOINT_VERSION, Format
from tune_ckpt.tree.store import open_store
from tune_ckpt.tree.writing import save_tree
from tune_ckpt.wishes import Strict, Wishes

if TYPE_CHECKING:
    from typing_extensions import Self


class Checkpointable(abc.ABC):
    """An object whose state is saved as a tree of components, and restored from it.

    A component may have a method ``selftest()``: it returns arrays that follow from the state, such
    as a model's outputs for fixed inputs. They are saved too, and must be the same after a restore,
    to within the class attribute ``selftest_tolerance`` (0 by default).

    The whole tree is written and read by the object whose method is called. Unlike in RLlib,
    `save_to_path` and `restore_from_path` of its subcomponents are not: what has to happen there
    belongs in `get_state` and `set_state`.
    """

    METADATA_FILE_NAME = "metadata.json"
    CLASS_AND_CTOR_ARGS_FILE_NAME = "class_and_ctor_args.pkl"
    STATE_FILE_NAME = "state"

    # --------------------------------------------------------------- what a subclass defines

    @abc.abstractmethod
    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
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
        """Return the arguments with which an equal object can be constructed."""
        return (), {}

    def get_metadata(self) -> dict[str, Any]:
        """Return JSON-compatible facts for ``metadata.json``; no part of the state."""
        return {
            "class_and_ctor_args_file": self.CLASS_AND_CTOR_ARGS_FILE_NAME,
            "state_file": self.STATE_FILE_NAME,
            **_ray_versions(),
        }

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Return the subcomponents with their names.

        Each is a `Checkpointable` (ours or RLlib's), has ``state_dict`` and ``load_state_dict``, is
        of a type known to `tune_ckpt.register_adapter`, or is a Ray actor or a group of them (see
        `tune_ckpt.ActorGroup`).
        """
        return []

    # ---------------------------------------------------------------------- what it gets

    def save_to_path(
        self,
        path: str | Path | None = None,
        *,
        state: StateDict | None = None,
        filesystem: Any = None,
        use_msgpack: bool = False,
        base: Any = None,
        durable: bool = False,
    ) -> str:
        """Save the whole tree to ``path``, where it replaces an older checkpoint in one step.

        Args:
            path: A local path or a URI; by default a new folder for temporary files.
            state: A state to save instead of `get_state`'s. Only the subcomponents that it names
                are saved.
            filesystem: A ``pyarrow.fs.FileSystem`` in which the paths are to be looked up.
            use_msgpack: Write msgpack (no pickle in any file) instead of pickle.
            base: The path of an older checkpoint, from which components that have not changed are
                taken over; see `tune_ckpt.save`.
            durable: Come back only when all of it would survive a loss of power.

        Returns:
            The path.

        Raises:
            UnsupportedStateError: msgpack cannot bring back some values; all are listed, and
                nothing is written.
            StorageError: The storage refuses; an older checkpoint there is untouched.
        """
        settle(self)  # or an older state, still being written, would come last
        path = _new_folder() if path is None else path
        component, format = component_of(self, state), _format(use_msgpack)
        save_tree(component, path, format, filesystem=filesystem, base=base, durable=durable)
        return str(path)

    def save_async(
        self,
        path: str | Path | None = None,
        *,
        state: StateDict | None = None,
        filesystem: Any = None,
        use_msgpack: bool = False,
        base: Any = None,
        durable: bool = False,
        wait: bool = True,
    ) -> PendingSave:
        """Save the whole tree in the background, as it is now.

        The call takes a snapshot, and comes back; what happens to the object later does not change
        what is saved. One save of an object is under way at a time, so there is never more than one
        snapshot of it; its memory is kept for the next. Python ends only when the save has ended.
        A pickle is made in the background of what an unpickled copy of the state holds: an object
        in it that cannot be unpickled is an error of the save.

        Args:
            path: As for `save_to_path`.
            state: As for `save_to_path`.
            filesystem: As for `save_to_path`.
            use_msgpack: As for `save_to_path`.
            base: As for `save_to_path`.
            durable: As for `save_to_path`.
            wait: Wait for this object's save before, where it has not ended. Where not, that is an
                error.

        Returns:
            A handle; its ``result()`` waits for the end, and raises the error if there was one.

        Raises:
            SaveInFlightError: The save before has not ended, and ``wait`` is false.
            UnsupportedStateError: msgpack cannot bring back some values; all are listed, and
                nothing is written.
            StorageError: The save before failed, and nobody has asked for its result. This one was
                not begun.
        """
        return saver_of(self).start(
            lambda: component_of(self, state),
            _new_folder() if path is None else path,
            _format(use_msgpack),
            wait=wait,
            filesystem=filesystem,
            base=base,
            durable=durable,
        )

    def restore_from_path(
        self,
        path: str | Path,
        *,
        component: str | None = None,
        filesystem: Any = None,
        allow_pickle: bool = False,
        trusted: str | Collection[str] = (),
        strict: Strict = True,
        components: Patterns | None = None,
        exclude: Patterns | None = None,
        rename: Mapping[str, str] | None = None,
        device: Any = None,
        tolerance: float | None = None,
        **kwargs: Any,
    ) -> RestoreReport:
        """Restore this object from a checkpoint; all of it is read, verified and compared first.

        Checkpoints that RLlib's own ``Checkpointable`` wrote are read too, as far as they go:
        nothing in them tells whether their bytes are what was written.

        What does not fit are components that only the object or only the checkpoint has; arrays of
        torch modules that are missing, too many, or of another shape or dtype; and optimizers and
        the like that were saved from another class.

        >>> agent.restore_from_path(path, components="policies/p7")  # doctest: +SKIP

        Args:
            path: A local path or a URI.
            component: ``path`` is the checkpoint of this subcomponent alone (``/`` between levels):
                restore it and leave the rest as it is.
            filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
            allow_pickle: Let pickles import and call what they name. Only for checkpoints whose
                writer you trust.
            trusted: Modules and packages whose classes and functions the checkpoint may name.
            strict: True: an error lists all that does not fit, and the object is as it was. (Where
                components appear with the state, or there are self-tests, its former state is kept
                meanwhile.) ``"warn"`` and ``"ignore"``: what fits is restored.
            components: Patterns of the components to restore, by their paths in the checkpoint,
                like ``"policies/*"``; with all that is below them. ``"."`` is the state of this
                object itself. Nothing else is read.
            exclude: Patterns of components to leave as they are.
            rename: From components' paths in the checkpoint to those in this object.
            device: Where torch tensors in states are put; by default on the CPU. Modules and
                optimizers stay where they are.
            tolerance: How much self-tests may differ, instead of what the components allow.
            kwargs: For forward compatibility.

        Returns:
            What was loaded, and what did not fit.

        Raises:
            RestoreError: The checkpoint does not fit; all differences are listed.
            SelfTestError: A component's ``selftest()`` returns something else than when it was
                saved.
            StateRefusedError: A component's own code raised an error.
            CorruptDataError: A file is not what was written.
            UntrustedPickleError: A pickle names more than harmless things.
        """
        wishes = Wishes.of(
            strict=strict,
            components=components,
            exclude=exclude,
            rename=rename,
            device=device,
            tolerance=tolerance,
            allow_pickle=allow_pickle,
            trusted=trusted,
        )
        target = descend(self, component) if component else self
        return restore_into(target, open_store(path, filesystem), wishes)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        filesystem: Any = None,
        *,
        allow_pickle: bool = False,
        trusted: str | Collection[str] = (),
        **kwargs: Any,
    ) -> Self:
        """Construct the object that a checkpoint was saved from, and restore it.

        The stored class is this one, or a subclass that is imported already or in a trusted module.
        A class of the same name in ``__main__`` counts as the same, and one that has moved as what
        `tune_ckpt.register_renamed` says. It is looked at before anything is constructed.

        Args:
            path: A local path or a URI.
            filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
            allow_pickle: Let pickles import and call what they name. Only for checkpoints whose
                writer you trust.
            trusted: Modules and packages whose classes and functions the checkpoint may name; they
                are imported.
            kwargs: Constructor arguments that replace the stored ones of the same name; the rest
                goes to `restore_from_path` (``strict``, ``exclude``, ...).

        Raises:
            ClassNotFoundError: The stored class is another one.
            ConstructorError: The class cannot be called with the stored arguments.
            UntrustedTypesError: They hold classes or functions of modules that nobody trusted.
            RestoreError, CorruptDataError, UntrustedPickleError: As in `restore_from_path`.
        """
        return restored_object(
            cls, path, filesystem, allow_pickle=allow_pickle, trusted=trusted, kwargs=kwargs
        )

    # ------------------------------------------------------------------ for subclasses to use

    def _check_component(
        self,
        name: str,
        components: str | Collection[str] | None,
        not_components: str | Collection[str] | None,
    ) -> bool:
        """Say whether `get_state` shall include a component, by its arguments (as in RLlib)."""
        wanted = components is None or any(
            one == name or one.startswith(f"{name}/") for one in _listed(components)
        )
        return wanted and name not in _listed(not_components)

    def _get_subcomponents(
        self, name: str, components: str | Collection[str] | None
    ) -> list[str] | None:
        """Return what such an argument says of a component's own subcomponents (as in RLlib)."""
        start = f"{name}/"
        found = [one.removeprefix(start) for one in _listed(components) if one.startswith(start)]
        return found or None


def _new_folder() -> Path:
    return Path(tempfile.gettempdir()) / str(uuid.uuid4())


def _format(use_msgpack: bool) -> Format:
    return "msgpack" if use_msgpack else "pickle"


def _ray_versions() -> dict[str, Any]:
    import sys

    ray = sys.modules.get("ray")  # whoever saves without Ray has no version of it to record
    version, commit = getattr(ray, "__version__", None), getattr(ray, "__commit__", None)
    return {
        "ray_version": version,
        "ray_commit": commit,
        "checkpoint_version": CHECKPOINT_VERSION,
    }


def _listed(names: str | Collection[str] | None) -> Collection[str]:
    return [] if names is None else [names] if isinstance(names, str) else names
