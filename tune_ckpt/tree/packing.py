"""A component tree in memory, packed whole before anything is written: all faults at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.file_format import FileFormat
from tune_ckpt.formats.packed import Packed
from tune_ckpt.tree.layout import (
    CTOR,
    FORMATS,
    SELFTEST,
    STATE,
    FileNames,
    Format,
    check_format,
    check_names,
)
from tune_ckpt.tree.metadata import ComponentRecord

DICT = "builtins:dict"  # the class of what is no object: values and objects by name


@dataclass
class Component:
    """One node of a tree, ready to be packed.

    Attributes:
        cls: Its class, ``module:QualName``.
        state: Its state, without the subcomponents'.
        ctor: What its class-and-constructor file shall hold, by format; None for no such file.
        components: Its subcomponents by name.
        extra: What ``metadata.json`` shall say besides; JSON must be able to.
        names: Its file names.
        selftest: What its self-test returned; None for no such file.
    """

    cls: str
    state: Any
    ctor: Callable[[Format], Any] | None = None
    components: dict[str, Node] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    names: FileNames = field(default_factory=FileNames)
    selftest: Any = None


class Elsewhere(Protocol):
    """A node whose object lives in another process, where it is packed."""

    def pack(self, format: Format) -> PackedComponent:
        """Return it packed, or raise what `pack_tree` raises."""


Node = Component | Elsewhere


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
        written: Subcomponents that are in its folder already.
    """

    cls: str
    format: Format
    files: dict[str, Packed]
    components: dict[str, PackedComponent]
    facts: dict[str, Any] | None
    extra: dict[str, Any]
    names: FileNames
    written: dict[str, ComponentRecord] = field(default_factory=dict)


Pack = Callable[[Any], Packed]
PackOf = Callable[[FileFormat], Pack]


def pack_tree(
    component: Node, format: Format, pack_of: PackOf = attrgetter("pack")
) -> PackedComponent:
    """Pack a tree; its large arrays are referred to, and must not change until it is written.

    Args:
        component: The tree.
        format: How its files are to be packed.
        pack_of: Returns what packs one file, given its format.

    Raises:
        InvalidArgumentError: There is no such format.
        UnsupportedStateError: The format cannot bring back some values, or JSON not what the
            metadata shall say; all of the whole tree are listed.
        InvalidNameError: A component's name cannot be a folder.
    """
    check_format(format)
    faults: list[Fault] = []
    packed = _pack(component, format, pack_of(FORMATS[format]), (), faults)
    if faults:
        raise UnsupportedStateError(tuple(faults))
    return packed


def _pack(
    component: Node,
    format: Format,
    pack: Pack,
    path: tuple[str, ...],
    faults: list[Fault],
) -> PackedComponent:
    if not isinstance(component, Component):
        return _pack_elsewhere(component, format, path, faults)
    extra, names = component.extra, component.names
    check_names(component.components, names)
    values = {} if component.ctor is None else {CTOR: component.ctor(format)}
    values[STATE] = component.state
    if component.selftest is not None:
        values[SELFTEST] = component.selftest
    files = {}
    for role, value in values.items():
        try:
            files[role] = pack(value)
        except UnsupportedStateError as error:
            file = () if role == STATE else (names.file(role, format),)
            faults += [fault.below(*path, *file) for fault in error.faults]
    faults += [fault.below(*path, names.metadata) for fault in _not_json(extra)]
    children = {
        name: _pack(child, format, pack, (*path, name), faults)
        for name, child in component.components.items()
    }
    return PackedComponent(component.cls, format, files, children, None, extra, names)


def _not_json(extra: Any) -> list[Fault]:
    if not isinstance(extra, dict):
        return [Fault("", f"get_metadata() returned a {type(extra).__name__} instead of a dict")]
    try:
        json.dumps(extra)
    except (TypeError, ValueError, RecursionError) as error:
        return [Fault("", f"get_metadata() returned what JSON cannot hold ({error})")]
    return []


def _pack_elsewhere(
    node: Elsewhere, format: Format, path: tuple[str, ...], faults: list[Fault]
) -> PackedComponent:
    try:
        return node.pack(format)
    except UnsupportedStateError as error:
        faults += [fault.below(*path) for fault in error.faults]
    nothing = PackedComponent("", format, {}, {}, None, {}, FileNames())
    return nothing  # never used: there are faults
