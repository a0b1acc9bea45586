"""User objects to component trees and back: a drop-in for RLlib's ``Checkpointable``.

Same methods, signatures and file names as ``ray.rllib.utils.checkpoints.Checkpointable`` (Ray
2.60), without importing Ray. A subclass defines `Checkpointable.get_state` and
`Checkpointable.set_state`, usually `Checkpointable.get_ctor_args_and_kwargs`, and lists its
subcomponents in `Checkpointable.get_checkpointable_components`.
"""

from __future__ import annotations

import abc
import inspect
import tempfile
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_ckpt.background import PendingSave, saver_of, settle
from tune_ckpt.classes import family, find_class, read_ctor
from tune_ckpt.components import StateDict, component_of, descend, load_for
from tune_ckpt.tree.consistency import check_not_replaced, consistently
from tune_ckpt.tree.files import ReadOptions
from tune_ckpt.tree.layout import CHECKPOINT_VERSION, Format
from tune_ckpt.tree.reading import OpenComponent
from tune_ckpt.tree.store import open_store
from tune_ckpt.tree.writing import save_tree

if TYPE_CHECKING:
    from typing_extensions import Self


class Checkpointable(abc.ABC):
    """An object whose state is saved as a tree of components, and restored from it."""

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
        **kwargs: Any,
    ) -> None:
        """Restore this object from a checkpoint; all of it is read and verified first.

        Args:
            path: A local path or a URI.
            component: ``path`` is the checkpoint of this subcomponent alone (``/`` between levels):
                restore it and leave the rest as it is.
            filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
            allow_pickle: Let pickles import and call what they name. Only for checkpoints whose
                writer you trust.
            kwargs: For forward compatibility.

        Raises:
            RestoreError: The checkpoint does not fit; all differences are listed.
            CorruptDataError: A file is not what was written.
            UntrustedPickleError: A pickle names more than harmless things.
        """
        target = descend(self, component) if component else self
        options = ReadOptions(allow_pickle, tuple(family(type(self))))
        store = open_store(path, filesystem)
        consistently(store, lambda opened: load_for(target, opened, options)).give_to(target)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        filesystem: Any = None,
        *,
        allow_pickle: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Construct the object that a checkpoint was saved from, and restore it.

        The stored class is this one, or a subclass that is imported already. A class of the same
        name in ``__main__`` counts as the same.

        Args:
            path: A local path or a URI.
            filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
            allow_pickle: Let pickles import and call what they name. Only for checkpoints whose
                writer you trust.
            kwargs: Constructor arguments that replace the stored ones of the same name; the rest
                goes to `restore_from_path`.

        Raises:
            ClassNotFoundError: The stored class is another one.
            RestoreError, CorruptDataError, UntrustedPickleError: As in `restore_from_path`.
        """
        store = open_store(path, filesystem)
        options = ReadOptions(allow_pickle, tuple(family(cls)))

        def construct(opened: OpenComponent) -> Any:
            found = find_class(opened, cls, options)
            args, rest = _with_overrides(found, *read_ctor(opened, options), kwargs)
            value = found(*args.args, **args.kwargs)
            value.restore_from_path(path, filesystem=filesystem, allow_pickle=allow_pickle, **rest)
            check_not_replaced(store, opened)  # or the arguments would be another checkpoint's
            return value

        value: Self = consistently(store, construct)
        return value

    def _whole_state(self) -> StateDict:
        """Return what the state file and the subcomponents shall hold (a hook for mixins)."""
        return self.get_state()

    def _set_own_state(self, state: StateDict) -> None:
        """Take what the state file held (a hook for mixins)."""
        self.set_state(state)


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


def _with_overrides(
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], given: dict[str, Any]
) -> tuple[inspect.BoundArguments, dict[str, Any]]:
    signature = inspect.signature(cls)
    bound = signature.bind_partial(*args, **kwargs)
    mine = {name: value for name, value in given.items() if name in signature.parameters}
    bound.arguments.update(mine)
    return bound, {name: value for name, value in given.items() if name not in mine}
