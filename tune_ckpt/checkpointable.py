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
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_ckpt.adapters import adapter_of
from tune_ckpt.classes import family, find_class, name_of_class, read_ctor
from tune_ckpt.errors import Fault, RestoreError, UnsupportedComponentError
from tune_ckpt.tree.component import (
    Component,
    OpenComponent,
    ReadOptions,
    open_tree,
    write_tree,
)
from tune_ckpt.tree.layout import CHECKPOINT_VERSION, FileNames, Format
from tune_ckpt.tree.store import open_store

if TYPE_CHECKING:
    from typing_extensions import Self

StateDict = dict[str, Any]


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

        Each is a `Checkpointable` (ours or RLlib's), has ``state_dict`` and ``load_state_dict``, or
        is of a type known to `tune_ckpt.register_adapter`.
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
    ) -> str:
        """Save the whole tree to ``path``, where it replaces an older checkpoint in one step.

        Args:
            path: A local path or a URI; by default a new folder for temporary files.
            state: A state to save instead of `get_state`'s. Only the subcomponents that it names
                are saved.
            filesystem: A ``pyarrow.fs.FileSystem`` in which ``path`` is to be looked up.
            use_msgpack: Write msgpack (no pickle in any file) instead of pickle.

        Returns:
            The path.

        Raises:
            UnsupportedStateError: msgpack cannot bring back some values; all are listed, and
                nothing is written.
            StorageError: The storage refuses; an older checkpoint there is untouched.
        """
        if path is None:
            path = Path(tempfile.gettempdir()) / str(uuid.uuid4())
        format: Format = "msgpack" if use_msgpack else "pickle"
        write_tree(open_store(path, filesystem), component_of(self, state), format)
        return str(path)

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
        target = _descend(self, component) if component else self
        opened = open_tree(open_store(path, filesystem))
        restore_into(target, opened, ReadOptions(allow_pickle, tuple(family(type(self)))))

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
        opened = open_tree(open_store(path, filesystem))
        options = ReadOptions(allow_pickle, tuple(family(cls)))
        found = find_class(opened, cls, options)
        args, rest = _with_overrides(found, *read_ctor(opened, options), kwargs)
        value: Self = found(*args.args, **args.kwargs)
        value.restore_from_path(path, filesystem=filesystem, allow_pickle=allow_pickle, **rest)
        return value

    def _whole_state(self) -> StateDict:
        """Return what the state file and the subcomponents shall hold (a hook for mixins)."""
        return self.get_state()

    def _set_own_state(self, state: StateDict) -> None:
        """Take what the state file held (a hook for mixins)."""
        self.set_state(state)


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


# -------------------------------------------------------------------------------- object -> tree


def component_of(value: Any, state: Any = None) -> Component:
    """Return an object's tree, ready to be written.

    Args:
        value: A `Checkpointable` (ours or RLlib's), or what an adapter is registered for.
        state: Its state, where the caller has it already.

    Raises:
        UnsupportedComponentError: The object is of no such kind.
    """
    if hasattr(value, "get_checkpointable_components"):
        return _checkpointable_component(value, state)
    adapter = adapter_of(value)
    if adapter is None:
        raise UnsupportedComponentError(name_of_class(type(value)))
    state = adapter.get_state(value) if state is None else state
    return Component(name_of_class(type(value)), state)


def _checkpointable_component(value: Any, state: StateDict | None) -> Component:
    whole = getattr(value, "_whole_state", value.get_state)() if state is None else state
    own = dict(whole)  # a copy: the caller's dict is not ours to change
    components = {}
    for name, child in value.get_checkpointable_components():
        if state is None or name in own:
            components[name] = component_of(child, own.pop(name, None))
    return Component(
        name_of_class(type(value)),
        own,
        lambda format: _ctor(value, format),
        components,
        value.get_metadata(),
        FileNames(
            value.METADATA_FILE_NAME, value.CLASS_AND_CTOR_ARGS_FILE_NAME, value.STATE_FILE_NAME
        ),
    )


def _ctor(value: Any, format: Format) -> dict[str, Any]:
    cls = name_of_class(type(value)) if format == "msgpack" else type(value)
    return {"class": cls, "ctor_args_and_kwargs": value.get_ctor_args_and_kwargs()}


# -------------------------------------------------------------------------------- tree -> object


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint's states, read and verified."""

    state: Any
    components: dict[str, _Loaded]


def restore_into(value: Any, opened: OpenComponent, options: ReadOptions) -> None:
    """Restore an object from a checkpoint; nothing is touched before all of it is read.

    Raises:
        RestoreError: Components are missing or unexpected; all are listed.
    """
    missing = list(_missing(value, opened, ""))
    if missing:
        raise RestoreError(opened.store.location, tuple(missing))
    loaded = _load(opened, options)
    unexpected = list(_apply(value, loaded, ""))
    if unexpected:
        raise RestoreError(opened.store.location, tuple(unexpected))


def _components(value: Any) -> dict[str, Any]:
    return dict(getattr(value, "get_checkpointable_components", list[Any])())


def _missing(value: Any, opened: OpenComponent, path: str) -> Iterator[Fault]:
    for name, child in _components(value).items():
        if name not in opened.metadata.components:
            yield Fault(path + name, "the object has this component, the checkpoint does not")
        else:
            yield from _missing(child, opened.child(name), f"{path}{name}/")


def _load(opened: OpenComponent, options: ReadOptions) -> _Loaded:
    children = {name: _load(child, options) for name, child in opened.children()}
    return _Loaded(opened.state(options), children)


def _apply(value: Any, loaded: _Loaded, path: str) -> Iterator[Fault]:
    """Give the states to the objects; yield the components for which there was no object."""
    before = _components(value)
    for name, child in before.items():
        yield from _apply(child, loaded.components[name], f"{path}{name}/")
    _set_state(value, loaded.state)
    # Some components only appear when their owner has its state.
    after = _components(value)
    for name, part in loaded.components.items():
        if name not in after:
            yield Fault(path + name, "the checkpoint has this component, the object does not")
        elif name not in before:
            yield from _apply(after[name], part, f"{path}{name}/")


def _set_state(value: Any, state: Any) -> None:
    adapter = adapter_of(value)
    if hasattr(value, "set_state"):
        getattr(value, "_set_own_state", value.set_state)(state)
    elif adapter is not None:
        adapter.set_state(value, state)
    else:
        raise UnsupportedComponentError(name_of_class(type(value)))


def _descend(value: Any, component: str) -> Any:
    for name in component.split("/"):
        components = _components(value)
        if name not in components:
            known = ", ".join(components) or "none"
            raise RestoreError(component, (Fault(name, f"no such component; there are: {known}"),))
        value = components[name]
    return value
