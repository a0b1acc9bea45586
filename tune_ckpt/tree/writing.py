"""Writing a component tree, as a whole and in one step."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import xxhash

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats import msgpack, pickle
from tune_ckpt.formats.io import Sink
from tune_ckpt.tree.commit import Place, can_stage, staging
from tune_ckpt.tree.folder import Store
from tune_ckpt.tree.generations import new_generation
from tune_ckpt.tree.layout import (
    CTOR,
    STATE,
    ComponentRecord,
    FileNames,
    FileRecord,
    Format,
    Metadata,
    check_names,
    new_save,
)
from tune_ckpt.tree.local import LocalStore
from tune_ckpt.tree.reading import owned_names
from tune_ckpt.version import __version__


@dataclass
class Component:
    """One node of a tree, ready to be written.

    Attributes:
        cls: Its class, ``module:QualName``.
        state: Its state, without the subcomponents'.
        ctor: What its class-and-constructor file shall hold, by format; None for no such file.
        components: Its subcomponents by name.
        extra: What ``metadata.json`` shall say besides.
        names: Its file names.
    """

    cls: str
    state: Any
    ctor: Callable[[Format], Any] | None = None
    components: dict[str, Component] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    names: FileNames = field(default_factory=FileNames)


class Packed(Protocol):
    """A value as bytes-to-be of known size."""

    nbytes: int

    def write(self, sink: Sink) -> str:
        """Write it and return its digest."""


class _Pickled:
    def __init__(self, value: Any) -> None:
        self._data = pickle.dumps(value)
        self.nbytes = len(self._data)

    def write(self, sink: Sink) -> str:
        sink.write_at(0, self._data)
        return xxhash.xxh3_128_hexdigest(self._data)


_PACK: dict[Format, Callable[[Any], Packed]] = {"pickle": _Pickled, "msgpack": msgpack.pack}


def write_tree(store: Store, component: Component, format: Format) -> Metadata:
    """Write a component tree so that it replaces whatever checkpoint is at ``store``, as a whole.

    Raises:
        UnsupportedStateError: The format cannot bring back some values; all of the whole tree are
            listed, and nothing is written.
        InvalidNameError: A component's name cannot be a folder.
        StorageError: The storage refuses; what was there is untouched.
    """
    faults: list[Fault] = []
    packed = _pack(component, format, (), faults)
    if faults:
        raise UnsupportedStateError(tuple(faults))
    save = new_save()
    with _replacing(store, component, save) as place:
        metadata = _Writing(place, format, save).component(place.store, component, packed)
        place.commit(component.names.metadata, metadata.to_json())
    return metadata


def _replacing(store: Store, component: Component, save: str) -> AbstractContextManager[Place]:
    if isinstance(store, LocalStore) and can_stage(store):
        return staging(store, owned_names)
    return new_generation(store, {*component.names.all(), *component.components}, save)


@dataclass
class _PackedComponent:
    files: dict[str, Packed]
    components: dict[str, _PackedComponent]


def _pack(
    component: Component, format: Format, path: tuple[str, ...], faults: list[Fault]
) -> _PackedComponent:
    check_names(component.components, component.names)
    values = {} if component.ctor is None else {CTOR: component.ctor(format)}
    values[STATE] = component.state
    files = {}
    for role, value in values.items():
        try:
            files[role] = _PACK[format](value)
        except UnsupportedStateError as error:
            place = path if role == STATE else (*path, component.names.file(role, format))
            faults += [Fault("/".join((*place, f.path)), f.reason) for f in error.faults]
    children = {
        name: _pack(child, format, (*path, name), faults)
        for name, child in component.components.items()
    }
    return _PackedComponent(files, children)


@dataclass
class _Writing:
    place: Place
    format: Format
    save: str

    def component(self, store: Store, component: Component, packed: _PackedComponent) -> Metadata:
        """Write all of a component but its metadata, which is returned."""
        store.make()
        facts = {"save": self.save, **_facts()}
        metadata = Metadata(component.cls, self.format, facts=facts, extra=component.extra)
        names = self._names(component)
        for role, value in packed.files.items():
            name = names.file(role, self.format)
            metadata.files[role] = self._file(store, name, value)
        for name, child in component.components.items():
            folder = store.child(name)
            written = self.component(folder, child, packed.components[name])
            file = self._names(child).metadata
            self._note(folder, file)
            folder.write_bytes(file, written.to_json())
            metadata.components[name] = ComponentRecord(name, file, written.digest)
        return metadata

    def _file(self, store: Store, name: str, value: Packed) -> FileRecord:
        self._note(store, name)
        with store.create(name, value.nbytes) as sink:
            digest = value.write(sink)
        return FileRecord(name, value.nbytes, digest)

    def _names(self, component: Component) -> FileNames:
        save = self.place.save
        return component.names.of_save(save) if save else component.names

    def _note(self, store: Store, name: str) -> None:
        self.place.written.append((store, name))


def _facts() -> dict[str, Any]:
    return {
        "tune_ckpt_version": __version__,
        "python_version": platform.python_version(),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
