"""What is read of a checkpoint for an object: what the caller wants and the object may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_ckpt.formats.file_format import ReadOptions
from tune_ckpt.objects.adapters.registry import Stored
from tune_ckpt.objects.classes import family_by_name
from tune_ckpt.objects.components import may_grow, walk
from tune_ckpt.objects.own_ways import FILES, checked_files
from tune_ckpt.objects.selection import ROOT, Selection, below, join
from tune_ckpt.objects.wishes import Wishes
from tune_ckpt.tree.inspection.foreign_reading import OpenForeign, consistently_or_foreign
from tune_ckpt.tree.layout import SELFTEST
from tune_ckpt.tree.metadata import Metadata
from tune_ckpt.tree.reading import OpenComponent
from tune_ckpt.tree.storage.folder import Store


@dataclass
class Parts:
    """What was read of a checkpoint for an object; all paths are the checkpoint's.

    Attributes:
        location: The checkpoint.
        metadata: What it says of itself; None where another library wrote it.
        stored: The components that were read.
        selftests: What their self-tests returned.
        files: What their own ways of saving left, by path.
        unexpected: Components that the object has no place for.
        left_out: Components that were not asked for.
        unmatched: What was asked for and is not there.
    """

    location: str
    metadata: Metadata | None
    stored: dict[str, Stored] = field(default_factory=dict)
    selftests: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)


def read_parts(store: Store, target: Any, wishes: Wishes) -> Parts:
    """Read of the checkpoint in a folder what an object may take, and nothing else.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: There is none.
        CorruptDataError: A file is not what was written.
        UntrustedPickleError: A pickle names more than harmless things.
    """
    return consistently_or_foreign(store, lambda opened: parts_of(opened, target, wishes))


def parts_of(opened: OpenComponent, target: Any, wishes: Wishes) -> Parts:
    """Read the same of a checkpoint that is open."""
    metadata = None if isinstance(opened, OpenForeign) else opened.metadata
    parts = Parts(opened.store.location, metadata)
    selection = wishes.selection
    found = dict(_reached(opened, ROOT, selection))
    objects = dict(walk(target))
    places = _Places(objects, selection)
    options = ReadOptions(wishes.trust.allow_pickle, family_by_name(type(target)))
    for path, component in found.items():
        if component is None or not selection.wants(path):
            parts.left_out.append(path)
        elif path.rpartition("/")[2] == FILES:
            parts.files[path.rpartition("/")[0] or ROOT] = checked_files(
                component.state(options), component.store.location
            )
        elif not places.may_take(path):
            parts.unexpected.append(path)
        else:
            parts.stored[path] = _read(component, options, wishes)
            if SELFTEST in component.metadata.files:
                parts.selftests[path] = component.read(SELFTEST, options)
    parts.unmatched = selection.unmatched([*found, *filter(None, map(selection.stored, objects))])
    return parts


def _reached(
    opened: OpenComponent, path: str, selection: Selection
) -> Iterator[tuple[str, OpenComponent | None]]:
    """Yield the components by their paths, unopened where nothing of them is wanted."""
    yield path, opened
    for name in opened.metadata.components:
        child = join(path, name)
        if selection.reaches(child):
            yield from _reached(opened.child(name), child, selection)
        else:
            yield child, None


@dataclass(frozen=True)
class _Places:
    """Where in an object a component of a checkpoint may go."""

    objects: Mapping[str, Any]
    selection: Selection

    def may_take(self, stored: str) -> bool:
        """Say whether a component of the checkpoint has a place."""
        target = self.selection.target(stored)
        return target is not None and (target in self.objects or self._may_appear(target))

    def _may_appear(self, path: str) -> bool:
        """Say whether an object may get a component when one above it gets its state."""
        above = [place for place in self.objects if below(path, place)]
        return any(may_grow(self.objects[place]) and self._is_given(place) for place in above)

    def _is_given(self, path: str) -> bool:
        stored = self.selection.stored(path)
        return stored is not None and self.selection.wants(stored)


def _read(component: OpenComponent, options: ReadOptions, wishes: Wishes) -> Stored:
    location = component.store.location
    state = wishes.trust.read(component.state, options)
    if wishes.trust.modules:
        state = wishes.trust.resolved(state, location)
    if wishes.device is not None:
        from tune_ckpt.objects.adapters.torch_objects import moved

        state = moved(state, wishes.device)
    return Stored(component.metadata.cls, state, location, wishes.trust)
