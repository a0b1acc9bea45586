"""A component tree in memory, packed whole before anything is written: all faults at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import xxhash

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats import msgpack, pickle
from tune_ckpt.formats.io import Sink
from tune_ckpt.tree.layout import CTOR, SELFTEST, STATE, FileNames, Format, check_names


@dataclass
class Component:
    """One node of a tree, ready to be packed.

    Attributes:
        cls: Its class, ``module:QualName``.
        state: Its state, without the subcomponents'.
        ctor: What its class-and-constructor file shall hold, by format; None for no such file.
        components: Its subcomponents by name.
        extra: What ``metadata.json`` shall say besides.
        names: Its file names.
        selftest: What its self-test returned; None for no such file.
    """

    cls: str
    state: Any
    ctor: Callable[[Format], Any] | None = None
    components: dict[str, Component] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    names: FileNames = field(default_factory=FileNames)
    selftest: Any = None


class Packed(Protocol):
    """A file's content to be."""

    @property
    def nbytes(self) -> int:
        """Its size."""

    def digest(self) -> str:
        """Return the digest that `write` will return."""

    def write(self, sink: Sink) -> str:
        """Write it and return its digest."""


@dataclass
class PackedComponent:
    """One node of a tree, ready to be written.

    Attributes:
        cls: Its class, ``module:QualName``.
        format: How its files are packed.
        files: By role (one of `tune_ckpt.tree.layout.ROLES`).
        components: Its subcomponents by name.
        facts: What its metadata shall tell of its origin; None for what is true of one new today.
        extra: What its metadata shall say besides.
        names: Its file names.
    """

    cls: str
    format: Format
    files: dict[str, Packed]
    components: dict[str, PackedComponent]
    facts: dict[str, Any] | None
    extra: dict[str, Any]
    names: FileNames


class _Pickled:
    def __init__(self, value: Any) -> None:
        self._data = pickle.dumps(value)
        self.nbytes = len(self._data)

    def digest(self) -> str:
        return xxhash.xxh3_128_hexdigest(self._data)

    def write(self, sink: Sink) -> str:
        sink.write_at(0, self._data)
        return self.digest()


_PACK: dict[Format, Callable[[Any], Packed]] = {"pickle": _Pickled, "msgpack": msgpack.pack}


def pack_tree(component: Component, format: Format) -> PackedComponent:
    """Pack a tree.

    Raises:
        UnsupportedStateError: The format cannot bring back some values; all of the whole tree are
            listed.
        InvalidNameError: A component's name cannot be a folder.
    """
    faults: list[Fault] = []
    packed = _pack(component, format, (), faults)
    if faults:
        raise UnsupportedStateError(tuple(faults))
    return packed


def _pack(
    component: Component, format: Format, path: tuple[str, ...], faults: list[Fault]
) -> PackedComponent:
    check_names(component.components, component.names)
    values = {} if component.ctor is None else {CTOR: component.ctor(format)}
    values[STATE] = component.state
    if component.selftest is not None:
        values[SELFTEST] = component.selftest
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
    extra, names = component.extra, component.names
    return PackedComponent(component.cls, format, files, children, None, extra, names)
