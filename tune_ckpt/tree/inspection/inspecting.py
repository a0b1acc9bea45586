"""One component of any checkpoint, ours or RLlib's own, as `describe` and `diff` look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import ComponentNotFoundError, NotACheckpointError
from tune_ckpt.tree.inspection.foreign import ForeignComponent, open_folder, open_foreign
from tune_ckpt.tree.layout import CTOR, SELFTEST, STATE, is_msgpack
from tune_ckpt.tree.reading import OpenComponent, is_surely_none, open_tree
from tune_ckpt.tree.storage.folder import Store


@dataclass(frozen=True)
class File:
    """One file of a component.

    Attributes:
        name: Its name.
        nbytes: Its size.
        digest: Its digest; None where nothing tells it.
    """

    name: str
    nbytes: int
    digest: str | None


@dataclass(frozen=True)
class Inspected:
    """One component.

    Attributes:
        store: Its folder.
        cls: Returns its class, ``module:QualName``, as far as it can be told.
        format: ``msgpack`` or ``pickle``; empty where it has no files.
        digest: Its content digest; None where RLlib wrote it.
        files: Its files.
        states: Those that hold its state: one, but in RLlib's old layouts there may be several.
        ctor: The one that holds class and constructor arguments, or None.
        selftest: The one that holds what its self-test returned, or None.
        facts: What its metadata say.
        children: Yields its subcomponents with their names.
    """

    store: Store
    cls: Callable[[], str]
    format: str
    digest: str | None
    files: list[File]
    states: list[File]
    ctor: File | None
    selftest: File | None
    facts: dict[str, Any]
    children: Callable[[], Iterator[tuple[str, Inspected]]]

    def at(self, component: str | None) -> Inspected:
        """Return a subcomponent, ``/`` between levels; itself for none.

        Raises:
            ComponentNotFoundError: There is none of that name.
        """
        found = self
        for name in component.split("/") if component else ():
            children = dict(found.children())
            if name not in children:
                raise ComponentNotFoundError(found.store.location, name, tuple(children))
            found = children[name]
        return found


def inspect(store: Store) -> Inspected:
    """Open the checkpoint in a folder to look at it.

    Raises:
        NotACheckpointError: There is none.
        IncompleteCheckpointError: There is the beginning of one.
        CorruptDataError: Its metadata are not what was written.
    """
    try:
        return _ours(open_tree(store))
    except NotACheckpointError:
        if is_surely_none(store):
            raise
    return _foreign(open_foreign(store))


def _ours(opened: OpenComponent) -> Inspected:
    metadata = opened.metadata
    files = {role: File(f.name, f.nbytes, f.digest) for role, f in metadata.files.items()}
    return Inspected(
        opened.store,
        lambda: metadata.cls,
        metadata.format,
        metadata.digest,
        list(files.values()),
        [files[STATE]],
        files.get(CTOR),
        files.get(SELFTEST),
        {**metadata.facts, **metadata.extra},
        lambda: ((name, _ours(child)) for name, child in opened.children()),
    )


def _foreign(opened: ForeignComponent) -> Inspected:
    files = {file.name: File(file.name, file.nbytes, None) for file in opened.files}
    states = [files[name] for name in opened.states]
    formats = {"msgpack" if is_msgpack(file.name) else "pickle" for file in states}
    return Inspected(
        opened.store,
        lambda: opened.cls,
        "/".join(sorted(formats)),
        None,
        list(files.values()),
        states,
        None if opened.ctor is None else files[opened.ctor],
        None,
        opened.metadata,
        lambda: _foreign_children(opened),
    )


def _foreign_children(opened: ForeignComponent) -> Iterator[tuple[str, Inspected]]:
    for name, store in opened.children():
        try:
            yield name, _ours(open_tree(store))  # one of ours may sit inside RLlib's
        except NotACheckpointError:
            yield name, _foreign(open_folder(store))
