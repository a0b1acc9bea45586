"""User objects to component trees and back: a drop-in for RLlib's ``Checkpointable``.

Same methods, signatures and file names as ``ray.rllib.utils.checkpoints.Checkpointable`` (Ray
2.60), without importing Ray. A subclass defines `Checkpointable.get_state` and
`Checkpointable.set_state`, usually `Checkpointable.get_ctor_args_and_kwargs`, and lists its
subcomponents in `Checkpointable.get_checkpointable_components`.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_ckpt.errors import RestoreReport
from tune_ckpt.objects.background import PendingSave, saver_of, settle
from tune_ckpt.objects.components import descend
from tune_ckpt.objects.constructing import restored_object
from tune_ckpt.objects.object_states import StateDict
from tune_ckpt.objects.own_ways import stand_in_for
from tune_ckpt.objects.parts import read_parts
from tune_ckpt.objects.restoring import give_parts
from tune_ckpt.objects.saving import component_of
from tune_ckpt.objects.selection import Patterns
from tune_ckpt.objects.stateful import Stateful
from tune_ckpt.objects.wishes import Strict, Wishes
from tune_ckpt.tree.layout import Format
from tune_ckpt.tree.storage.store import open_store
from tune_ckpt.tree.writing import save_tree

if TYPE_CHECKING:
    from typing_extensions import Self


class Checkpointable(Stateful):
    """An object whose state is saved as a tree of components, and restored from it.

    The whole tree is written and read by the object whose method is called. Where a subcomponent
    has its own `save_to_path` or `restore_from_path`, that is called with an empty folder, or with
    the files that it left there; the inherited method does its part of the whole. (Not in actors.)
    """

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
            UnsupportedComponentError: Nothing tells how to take a subcomponent's state.
            InvalidNameError: A subcomponent's name cannot be a folder's.
            OccupiedFolderError: Files that are no checkpoint's would be replaced.
            StorageError: The storage refuses; an older checkpoint there is untouched. Or a save in
                the background failed, and nobody has asked for its result; then this one was not
                begun.
        """
        stand_in = stand_in_for(self)
        if stand_in is not None:  # the object above saves the tree
            stand_in(state)
            return str(path)
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
        snapshot of it. Python ends only when the save has ended.

        Args:
            path: As for `save_to_path`.
            state: As for `save_to_path`.
            filesystem: As for `save_to_path`.
            use_msgpack: As for `save_to_path`. A pickle is made of what an unpickled copy holds: an
                object that cannot be unpickled is an error of the save.
            base: As for `save_to_path`.
            durable: As for `save_to_path`.
            wait: Wait for this object's save before, where it has not ended.

        Returns:
            A handle; its ``result()`` waits for the end, and raises the error if there was one.

        Raises:
            SaveInFlightError: The save before has not ended, and ``wait`` is false.
            UnsupportedStateError, UnsupportedComponentError, InvalidNameError: As for
                `save_to_path`.
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

        >>> agent.restore_from_path("agent", components="model").loaded
        ('model', 'model/head')

        Args:
            path: A local path or a URI.
            component: ``path`` is the checkpoint of this subcomponent alone (``/`` between levels):
                restore it and leave the rest as it is.
            filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
            allow_pickle: As for `tune_ckpt.restore`, like all that follow.
            trusted: Modules and packages whose classes and functions the checkpoint may name.
            strict: True: an error lists all that does not fit, and the object is as it was.
            components: Patterns of the components to restore; ``"."`` is this object's own state.
            exclude: Patterns of components to leave as they are.
            rename: From components' paths in the checkpoint to those in this object.
            device: Where torch tensors in states are put.
            tolerance: How much self-tests may differ, instead of what the components allow.
            kwargs: For forward compatibility.

        Returns:
            What was loaded, and what did not fit.

        Raises:
            ComponentNotFoundError: This object has no such component.
            NotACheckpointError, CorruptDataError, UntrustedPickleError, RestoreError,
                SelfTestError, StateRefusedError: As for `tune_ckpt.restore`, like all others.
        """
        stand_in = stand_in_for(self)
        if stand_in is not None:  # the object above restores the tree, and has its report
            stand_in()
            return RestoreReport(str(path))
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
        target = descend(self, component)
        parts = read_parts(open_store(path, filesystem), target, wishes)
        return give_parts(target, parts, wishes, asked=self)

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
            allow_pickle: As for `tune_ckpt.restore`.
            trusted: Modules and packages whose classes and functions the checkpoint may name.
            kwargs: Constructor arguments that replace the stored ones of the same name; the rest
                goes to `restore_from_path` (``strict``, ``exclude``, ...).

        Raises:
            ClassNotFoundError: The stored class is another one.
            ConstructorError: The class cannot be called with the stored arguments.
            UntrustedTypesError: They hold classes or functions of modules that nobody trusted.
            NotInCheckpointError: It holds no object of a class, but what `tune_ckpt.save` saved by
                names.
            NotACheckpointError, CorruptDataError, UntrustedPickleError, RestoreError,
                SelfTestError, StateRefusedError: As for `tune_ckpt.restore`, like all others.
        """
        return restored_object(
            cls, path, filesystem, allow_pickle=allow_pickle, trusted=trusted, kwargs=kwargs
        )


def _new_folder() -> Path:
    return Path(tempfile.gettempdir()) / str(uuid.uuid4())


def _format(use_msgpack: bool) -> Format:
    return "msgpack" if use_msgpack else "pickle"
