"""Component trees that RLlib's own ``Checkpointable`` wrote, opened like ours.

Whoever replaces RLlib's base class by ours still has them. Nothing tells what their bytes should
be, nor which save they are of: they are parsed, not verified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tune_ckpt.errors import (
    ComponentNotFoundError,
    CorruptDataError,
    IncompleteCheckpointError,
    NotACheckpointError,
)
from tune_ckpt.formats import pickle, rllib_dialect
from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.formats.io import BytesSource
from tune_ckpt.tree.consistency import check_not_replaced, consistently
from tune_ckpt.tree.inspection.foreign import ForeignComponent, open_folder, open_foreign
from tune_ckpt.tree.layout import CTOR, STATE, format_of
from tune_ckpt.tree.metadata import ComponentRecord, FileRecord, Metadata
from tune_ckpt.tree.reading import OpenComponent, open_tree
from tune_ckpt.tree.storage.folder import Store

T = TypeVar("T")


@dataclass(frozen=True)
class OpenForeign(OpenComponent):
    """One component of RLlib's."""

    def state(self, options: ReadOptions) -> Any:
        """Return the state.

        Raises:
            CorruptDataError: There is none, or it cannot be parsed.
            UntrustedPickleError: It is a pickle that names more than harmless things.
        """
        return self.read(STATE, options)

    def read(self, role: str, options: ReadOptions) -> Any:
        """Return what the file of that role holds."""
        if role not in self.metadata.files:
            raise CorruptDataError(self.store.path(role), "it is missing")
        data, name = self.raw(role), self.metadata.files[role].name
        path = self.store.path(name)
        if format_of(name) == "msgpack":
            return rllib_dialect.load(BytesSource(data, path))
        if options.allow_pickle:
            return pickle.loads(data, file=path)
        return pickle.loads_restricted(
            data, file=path, allowed=options.allowed, tensors=options.tensors
        )

    def raw(self, role: str) -> memoryview:
        """Return the bytes of the file of that role."""
        return memoryview(self.store.read_bytes(self.metadata.files[role].name))

    def child(self, name: str) -> OpenComponent:
        """Return the subcomponent of that name, ``/`` between levels; it may be one of ours.

        Raises:
            ComponentNotFoundError: There is none.
        """
        first, _, rest = name.partition("/")
        if first not in self.metadata.components:
            names = tuple(self.metadata.components)
            raise ComponentNotFoundError(self.store.location, first, names)
        child = _open(self.store.child(first))
        return child.child(rest) if rest else child


def consistently_or_foreign(store: Store, read: Callable[[OpenComponent], T]) -> T:
    """Return what ``read`` makes of a checkpoint of ours or RLlib's; see `consistently`.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: There is none.
        CorruptDataError: A file is not what was written.
    """
    try:
        return consistently(store, read)
    except NotACheckpointError as error:
        opened = _foreign(store)
        if opened is None:
            raise error
        return read(opened)


def check_still_there(store: Store, opened: OpenComponent) -> None:
    """Check that a checkpoint is still the one that was opened, if that can be told.

    Raises:
        CorruptDataError: Another one took its place.
    """
    if not isinstance(opened, OpenForeign):
        check_not_replaced(store, opened)


def _foreign(store: Store) -> OpenForeign | None:
    try:
        return _opened(open_foreign(store.confined()))
    except NotACheckpointError:
        return None


def _open(store: Store) -> OpenComponent:
    try:
        return open_tree(store)
    except (NotACheckpointError, IncompleteCheckpointError):
        return _opened(open_folder(store))


def _opened(found: ForeignComponent) -> OpenForeign:
    named = {STATE: next(iter(found.states), None), CTOR: found.ctor}
    sizes = {file.name: file.nbytes for file in found.files}
    files = {
        role: FileRecord(name, sizes[name], "") for role, name in named.items() if name is not None
    }
    components = {
        name: ComponentRecord(name, "", "")
        for name, folder in found.children()
        if _is_component(open_folder(folder))
    }
    return OpenForeign(found.store, Metadata(found.cls, "pickle", files, components), "")


def _is_component(found: ForeignComponent) -> bool:
    return bool(found.metadata) or found.ctor is not None
