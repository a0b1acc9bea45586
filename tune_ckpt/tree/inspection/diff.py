"""What differs between two checkpoints, without building any object."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tune_ckpt.formats.packing import UNWRITABLE, same_bytes
from tune_ckpt.tree.inspection.contents import open_contents
from tune_ckpt.tree.inspection.difference import (
    ArrayDifference,
    Difference,
    ValueDifference,
    change_of,
    shown_array,
)
from tune_ckpt.tree.inspection.distance import Distance, distance, same_elements
from tune_ckpt.tree.inspection.found import (
    UNTOLD,
    Array,
    ArrayFacts,
    Found,
    Group,
    Named,
    Value,
)
from tune_ckpt.tree.inspection.inspecting import Inspected, inspect
from tune_ckpt.tree.inspection.numbers_as_text import Entries, alike, may_be_text
from tune_ckpt.tree.layout import CTOR, SELFTEST, STATE
from tune_ckpt.tree.metadata import FileRecord
from tune_ckpt.tree.storage.folder import Store
from tune_ckpt.tree.storage.store import open_store


def diff(a: Any, b: Any, *, values: bool = False, filesystem: Any = None) -> Difference:
    """Tell what differs between two checkpoints.

    >>> print(diff("checkpoint", "newer"))  # doctest: +ELLIPSIS
    - /.../checkpoint
    + /.../newer
      no array differs, only other values do
      changed value step: 7 -> 8

    Parts with equal digests are equal, and not read. Else arrays are compared by dtype, shape and
    digest; those of msgpack checkpoints are not read for it. Pickles are read whole, and inertly:
    nothing that they name is imported, called or constructed, so a checkpoint and its conversion
    can be compared. The order of a dict's keys is no difference, nor that RLlib's msgpack has the
    numbers of an optimizer's parameters as text.

    Args:
        a: A checkpoint: a local path, a URI, or a Ray Checkpoint.
        b: Another.
        values: Also tell how much arrays differ, which reads those that do, one pair at a time.
        filesystem: A ``pyarrow.fs.FileSystem`` in which both paths are to be looked up.

    Returns:
        The components, arrays and other values that differ.

    Raises:
        NotACheckpointError, IncompleteCheckpointError: One of them is no checkpoint.
        CorruptDataError: What was read is not what was written.
        UntrustedPickleError, PickleReadError: A pickle cannot even be read inertly.
        MissingDependencyError: An array has a dtype of ml_dtypes, which is not installed.
    """
    first, second = (inspect(open_store(path, filesystem)) for path in (a, b))
    found = Difference(first.store.location, second.store.location)
    measure = distance if values else lambda *_: Distance(None, None)
    _Comparison(found, measure).components("", first, second)
    return found


Files = dict[str, tuple[Store, FileRecord]]  # by the first step of the keys of what is in them


class _Comparison:
    """Fills a `Difference`.

    Args:
        found: What is filled.
        measure: Tells how far two arrays are from each other.
    """

    def __init__(self, found: Difference, measure: Callable[[Array, Array], Distance]) -> None:
        self._found = found
        self._measure = measure

    def components(self, path: str, first: Inspected, second: Inspected) -> None:
        """Compare two components and all below them."""
        if first.digest is not None and first.digest == second.digest:
            return
        self._classes(path, first.cls(), second.cls())
        with ExitStack() as stack:
            ours, theirs = _files(first), _files(second)
            before = _entries(path, _differing(ours, theirs), stack)
            after = _entries(path, _differing(theirs, ours), stack)
            if may_be_text(first, second):
                before, after = alike(before, after), alike(after, before)
            self._entries(before, after)
        self._children(path, dict(first.children()), dict(second.children()))

    def _children(
        self, path: str, first: dict[str, Inspected], second: dict[str, Inspected]
    ) -> None:
        self._found.components_removed += [_join(path, n) for n in first if n not in second]
        self._found.components_added += [_join(path, n) for n in second if n not in first]
        for name in first:
            if name in second:
                self.components(_join(path, name), first[name], second[name])

    def _classes(self, path: str, first: str, second: str) -> None:
        if first and second and first != second:
            difference = ValueDifference(_join(path, "(class)"), "changed", first, second)
            self._found.values.append(difference)

    def _entries(self, first: Entries, second: Entries) -> None:
        for key, (path, found) in first.items():
            if key in second:
                self._pair(path, found, second[key][1])
            else:
                self._single(path, found, None)
        for key, (path, found) in second.items():
            if key not in first:
                self._single(path, None, found)

    def _single(self, path: str, before: Found | None, after: Found | None) -> None:
        found = before or after
        if isinstance(found, Array):
            difference = ArrayDifference(path, _facts(path, before), _facts(path, after))
            self._found.arrays.append(difference)
        elif isinstance(found, Value) or not (found and found.children):  # children are told of
            change = change_of(before, after)
            self._found.values.append(ValueDifference(path, change, _plain(before), _plain(after)))

    def _pair(self, path: str, before: Found, after: Found) -> None:
        if isinstance(before, Array) and isinstance(after, Array):
            if not (_same_kind(before, after) and same_elements(before, after)):
                facts = before.facts(path), after.facts(path)
                distance = self._measure(before, after)
                self._found.arrays.append(ArrayDifference(path, *facts, *distance))
        elif not _same(before, after):
            difference = ValueDifference(path, "changed", _plain(before), _plain(after))
            self._found.values.append(difference)


# ----------------------------------------------------------------------------- what is compared


def _files(part: Inspected) -> Files:
    files = {STATE: part.states[0]} if len(part.states) == 1 else {f.name: f for f in part.states}
    found = {**files, CTOR: part.ctor, SELFTEST: part.selftest}
    return {step: (part.store, file) for step, file in found.items() if file is not None}


def _differing(files: Files, others: Files) -> Files:
    """Leave out what the others have with the same digest."""
    digests = {step: file.digest for step, (_, file) in others.items() if file.digest}
    return {
        step: (store, file)
        for step, (store, file) in files.items()
        if step not in digests or file.digest != digests[step]
    }


def _entries(path: str, files: Files, stack: ExitStack) -> Entries:
    entries = {}
    for step, (store, file) in files.items():
        contents = stack.enter_context(open_contents(store, file.name, file.digest))
        above = _join(path, "" if step in (STATE, CTOR) else step)
        for key, below, found in contents.walk():
            if step != CTOR or key[:1] == (_ARGUMENTS,):  # the class beside them is in the metadata
                entries[(step, *key)] = _join(above, below), found
    return entries


_ARGUMENTS = "ctor_args_and_kwargs"


def _same_kind(first: Array, second: Array) -> bool:
    return first.kind == second.kind or UNTOLD in (first.kind, second.kind)


def _same(first: Found, second: Found) -> bool:
    if isinstance(first, Group) and isinstance(second, Group):
        return first.kind == second.kind
    if isinstance(first, Value) and isinstance(second, Value):
        return _same_value(first.value, second.value)
    return False


def _same_value(first: Any, second: Any) -> bool:
    """Say whether two plain values are equal, types included; NaN equals NaN, 0.0 not -0.0."""
    if type(first) is not type(second):
        return False
    if type(first) in (bool, int, str, bytes, type(None), Named):
        return bool(first == second)
    try:
        return same_bytes(first, second)
    except UNWRITABLE:  # from a pickle, and not of a type that could be written
        return repr(first) == repr(second)


def _join(path: str, step: str) -> str:
    return "/".join(filter(None, (path, step)))


def _facts(path: str, found: Found | None) -> ArrayFacts | None:
    return found.facts(path) if isinstance(found, Array) else None


def _plain(found: Found | None) -> Any:
    if isinstance(found, Array):
        return Named(shown_array(found.facts("")))
    return Named(found.kind) if isinstance(found, Group) else found and found.value
