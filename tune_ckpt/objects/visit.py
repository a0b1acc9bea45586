"""One walk over an object and what was read for it: compare all of it, and give it.

The order is RLlib's: subcomponents first, then their owner, then those that only appear with the
owner's state. Random generators come last of all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from tune_ckpt.errors import Fault, RestoreReport, StateRefusedError, TuneCkptError
from tune_ckpt.objects.adapters.registry import Fit
from tune_ckpt.objects.components import components_of, is_same, walk
from tune_ckpt.objects.object_states import fit_of, set_state
from tune_ckpt.objects.own_ways import (
    overrides_ours,
    overrides_rllibs,
    restore_by_itself,
    restore_by_rllib,
)
from tune_ckpt.objects.parts import Parts
from tune_ckpt.objects.selection import ROOT, Selection, below, join, relative
from tune_ckpt.objects.selftests import differences

T = TypeVar("T")


class Visit:
    """One walk over an object and what was read for it.

    Args:
        parts: What was read.
        selection: Which components are restored.
        touch: Whether the states are given.
        asked: The object whose ``restore_from_path`` the caller called.

    Attributes:
        loaded: The components that have got their states, or would, by their paths in the object.
    """

    def __init__(
        self, parts: Parts, selection: Selection, *, touch: bool, asked: Any = None
    ) -> None:
        self.loaded: dict[str, Any] = {}
        self._parts = parts
        self._selection = selection
        self._touch = touch
        self._asked = asked
        self._missing: dict[str, None] = dict.fromkeys(parts.unmatched)
        self._fits: dict[str, Fit] = {}
        self._taken: set[str] = set()
        self._last: dict[str, tuple[Any, Any]] = {}

    def component(self, value: Any, path: str) -> None:
        """Visit a component and all below it, by its own ``restore_from_path`` if it has one."""
        stored = self._selection.stored(path)
        if not self._touch or value is self._asked or stored not in self._parts.stored:
            self._component(value, path)
        elif overrides_ours(value, "restore_from_path"):
            self._by_itself(value, path, stored)
        elif overrides_rllibs(value, "restore_from_path") and self._fits_wholly(value, path):
            states = {
                relative(self._selection.target(one) or one, path): self._parts.stored[one].state
                for one in self._below(stored)
            }
            self._guarded(partial(restore_by_rllib, value, states), path)
            self._note_all(value, path, stored)
        else:
            self._component(value, path)

    def _by_itself(self, value: Any, path: str, stored: str) -> None:
        files = self._parts.files.get(stored, {})
        restore = partial(restore_by_itself, value, files, lambda: self._component(value, path))
        if not self._guarded(restore, path):  # the inherited method was not called
            self._note_all(value, path, stored)

    def _fits_wholly(self, value: Any, path: str) -> bool:
        parts = {self._selection.stored(one): part for one, part in walk(value, path)}
        fits = (
            fit_of(parts[one], state) for one, state in self._parts.stored.items() if one in parts
        )
        return not any(fit.missing or fit.unexpected or fit.mismatched for fit in fits)

    def _note_all(self, value: Any, path: str, stored: str) -> None:
        self._taken.update(self._below(stored))
        self.loaded[path] = value
        self.loaded.update({one: part for one, part in walk(value, path) if self._has(one)})

    def _has(self, path: str) -> bool:
        return self._selection.stored(path) in self._parts.stored

    def _below(self, stored: str) -> list[str]:
        return [one for one in self._parts.stored if one == stored or below(one, stored)]

    def _component(self, value: Any, path: str) -> None:
        before = components_of(value)
        for name, child in before.items():
            self.component(child, join(path, name))
        self._own(value, path)
        for name, child in components_of(value).items():
            if not is_same(before.get(name), child):  # it appeared, or was made again
                self.component(child, join(path, name))

    def _own(self, value: Any, path: str) -> None:
        stored = self._selection.stored(path)
        if not self._selection.wants(path if stored is None else stored):
            return
        if stored is None or stored not in self._parts.stored:
            self._missing[path] = None
            return
        self._taken.add(stored)
        compare = partial(fit_of, value, self._parts.stored[stored])
        fit = self._fits[path] = self._guarded(compare, path)
        if fit.usable:
            self.loaded[path] = value
            self._set(value, fit.state, path)

    def _set(self, value: Any, state: Any, path: str) -> None:
        if not self._touch:
            return
        if getattr(value, "restored_last", False):
            self._last[path] = value, state
        else:
            self._guarded(partial(set_state, value, state), path)

    def _guarded(self, function: Callable[[], T], path: str) -> T:
        try:
            return function()
        except TuneCkptError:
            raise
        except Exception as error:  # whatever the object's own code raises
            done = tuple(name for name in self.loaded if self._touch and name != path)
            reason = f"{type(error).__name__}: {error}"
            raise StateRefusedError(self._parts.location, path, reason, done) from error

    def give_last(self) -> None:
        """Give their states to those that have to be last."""
        for path, (value, state) in self._last.items():
            self._guarded(partial(set_state, value, state), path)

    def untaken(self) -> list[str]:
        """Return what was read and has no place in the object so far."""
        return [path for path in self._parts.stored if path not in self._taken]

    def problems(self) -> bool:
        """Say whether something is wrong whatever may appear yet."""
        faults = any(fit.missing or fit.unexpected or fit.mismatched for fit in self._fits.values())
        return bool(faults or self._missing or self._parts.unexpected)

    def report(self, failed: tuple[Fault, ...] = (), *, loaded: bool = True) -> RestoreReport:
        """Return what was loaded and what did not fit, together with failed self-tests."""
        fits = self._fits.items()
        missing = _below(_tops(self._missing), ((path, fit.missing) for path, fit in fits))
        unexpected = _below(
            _tops([*self._parts.unexpected, *self.untaken()]),
            ((path, fit.unexpected) for path, fit in fits),
        )
        mismatched = (fault for path, fit in fits for fault in _under(path, fit.mismatched))
        kinds = {fault.path: fault for fault in self._of_other_kind(unexpected)}
        return RestoreReport(
            self._parts.location,
            tuple(sorted(self.loaded, key=_by_level)) if loaded else (),
            tuple(path for path in missing if path not in kinds),
            tuple(path for path in unexpected if path not in kinds),
            (*kinds.values(), *mismatched, *failed),
        )

    def _of_other_kind(self, unexpected: Collection[str]) -> Iterator[Fault]:
        """Yield what is a plain value on one side and a component on the other."""
        for path, fit in self._fits.items():
            for value in {join(path, name) for name in fit.missing}.intersection(unexpected):
                yield Fault(value, "a component in the checkpoint, a plain value in the object")
        for path in self._missing:
            above, _, name = path.rpartition("/")
            stored = self._parts.stored.get(self._selection.stored(above or ROOT) or ROOT)
            if stored is not None and isinstance(stored.state, Mapping) and name in stored.state:
                why = "a plain value in the checkpoint (see load_state), a component in the object"
                yield Fault(path, why)

    def selftest_faults(self, tolerance: float | None) -> Iterator[Fault]:
        """Yield where a component that is whole computes something other than when it was saved."""
        for path, value in self.loaded.items():
            stored = self._selection.stored(path) or path
            if (
                stored in self._parts.selftests
                and callable(getattr(value, "selftest", None))
                and self._is_whole(path, stored)
            ):
                found = differences(value, self._parts.selftests[stored], tolerance)
                yield from _under(path, found)

    def _is_whole(self, path: str, stored: str) -> bool:
        wrong = [name for name, fit in self._fits.items() if fit.missing or fit.mismatched]
        return not any(
            one == above or below(one, above)
            for paths, above in (
                ([*self._missing, *wrong], path),
                ([*self._parts.left_out, *self._parts.unexpected], stored),
            )
            for one in paths
        )


def _by_level(path: str) -> tuple[str, ...]:
    return () if path == ROOT else tuple(path.split("/"))


def _tops(paths: Collection[str]) -> list[str]:
    """Return the paths without those below others."""
    return [path for path in paths if not any(below(path, other) for other in paths)]


def _below(paths: list[str], names: Iterator[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    return (*paths, *(join(path, name) for path, parts in names for name in parts))


def _under(path: str, faults: Iterable[Fault]) -> Iterator[Fault]:
    for fault in faults:
        yield Fault(join(path, fault.path) if fault.path else path, fault.reason)
