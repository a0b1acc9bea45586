"""One component of any checkpoint, ours or RLlib's own, as `describe` and `diff` look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tune_ckpt.errors import ComponentNotFoundError, listed
from tune_ckpt.tree.inspection.foreign import ForeignComponent, Opened, open_any, open_below
from tune_ckpt.tree.layout import CTOR, SELFTEST, STATE, format_of
from tune_ckpt.tree.metadata import FileRecord
from tune_ckpt.tree.reading import OpenComponent
from tune_ckpt.tree.storage.folder import Store


@dataclass(frozen=True)
class Inspected:
    """One component.

    Attributes:
        store: Its folder.
        cls: Returns its class, ``module:QualName``, as far as it can be told.
        format: ``msgpack`` or ``pickle``; empty where it has no state.
        digest: Its content digest; None where RLlib wrote it.
        sizes: Those of all its files, the metadata first.
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
    sizes: dict[str, int]
    states: list[FileRecord]
    ctor: FileRecord | None
    selftest: FileRecord | None
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
                advice = found._advice(name)
                raise ComponentNotFoundError(found.store.location, name, tuple(children), advice)
            found = children[name]
        return found

    def _advice(self, name: str) -> str:
        """Return where below there is one of that name, as for an id of a policy or module."""
        paths = [path for path in self._paths("") if path.endswith(f"/{name}")]
        return f"There is {listed(paths, 3)}." if paths else ""

    def _paths(self, above: str) -> Iterator[str]:
        for name, child in self.children():
            yield f"{above}{name}"
            yield from child._paths(f"{above}{name}/")


def inspect(store: Store) -> Inspected:
    """Open the checkpoint in a folder to look at it.

    Raises:
        NotACheckpointError: There is none.
        IncompleteCheckpointError: There is the beginning of one.
        CorruptDataError: Its metadata are not what was written.
    """
    return _inspected(open_any(store))


def _inspected(opened: Opened) -> Inspected:
    return _ours(opened) if isinstance(opened, OpenComponent) else _foreign(opened)


def _ours(opened: OpenComponent) -> Inspected:
    metadata, files = opened.metadata, opened.metadata.files
    return Inspected(
        opened.store,
        lambda: metadata.cls,
        metadata.format,
        metadata.digest,
        {
            opened.metadata_file: opened.metadata_nbytes,
            **{file.name: file.nbytes for file in files.values()},
        },
        [files[STATE]],
        files.get(CTOR),
        files.get(SELFTEST),
        {**metadata.facts, **metadata.extra},
        lambda: ((name, _ours(child)) for name, child in opened.children()),
    )


def _foreign(opened: ForeignComponent) -> Inspected:
    files = {file.name: FileRecord(file.name, file.nbytes, "") for file in opened.files}
    states = [files[name] for name in opened.states]
    formats = {format_of(file.name) for file in states}
    return Inspected(
        opened.store,
        lambda: opened.cls,
        "/".join(sorted(formats)),
        None,
        {entry.name: entry.nbytes for entry in opened.entries if not entry.is_dir},
        states,
        None if opened.ctor is None else files[opened.ctor],
        None,
        opened.metadata,
        lambda: ((name, _inspected(open_below(store))) for name, store in opened.children()),
    )
