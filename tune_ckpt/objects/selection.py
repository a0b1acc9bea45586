"""Which components of a checkpoint are restored, and under which names.

Every name here is a path of components, ``/`` between levels; ``.`` is the root's own state,
without its subcomponents. Patterns have shell wildcards, which stand for parts of one level's name.
What matches brings all that lies below it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from tune_ckpt.errors import InvalidArgumentError

Patterns = str | Collection[str]
ROOT = "."


def join(path: str, name: str) -> str:
    """Return the path of a component's subcomponent."""
    return name if path == ROOT else f"{path}/{name}"


def below(path: str, above: str) -> bool:
    """Say whether a path lies below another one."""
    return path != ROOT and (above == ROOT or path.startswith(f"{above}/"))


def relative(path: str, above: str) -> str:
    """Return a path as it is called from one above it; ``.`` for that one itself."""
    if path == above or above == ROOT:
        return ROOT if path == above else path
    return path[len(above) + 1 :]


def is_asked_for(name: str, components: Patterns | None, not_components: Patterns | None) -> bool:
    """Say whether these arguments of a ``get_state()`` ask for a component, as RLlib reads them."""
    wanted = components is None or any(
        one == name or below(one, name) for one in _listed(components)
    )
    return wanted and name not in _listed(not_components)


def asked_below(name: str, components: Patterns | None) -> list[str] | None:
    """Return what such an argument says of a component's own subcomponents, as RLlib reads it."""
    start = f"{name}/"
    found = [one.removeprefix(start) for one in _listed(components) if one.startswith(start)]
    return found or None


def _listed(names: Patterns | None) -> Collection[str]:
    return [] if names is None else [names] if isinstance(names, str) else names


@dataclass(frozen=True)
class Selection:
    """Which components are restored.

    Attributes:
        components: Patterns of those that are, by their paths in the checkpoint; None for all.
        exclude: Patterns of those that are not, even if `components` names them.
        rename: From a path in the checkpoint to the path in the object that takes it, with all
            below it.
    """

    components: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        components: Patterns | None = None,
        exclude: Patterns | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> Selection:
        """Return the selection that these arguments of a restore mean.

        Raises:
            InvalidArgumentError: Two components would get the same name, or one the root's.
        """
        chosen = None if components is None else _patterns(components)
        renamed = {old.strip("/"): new.strip("/") for old, new in (rename or {}).items()}
        if len(set(renamed.values())) < len(renamed) or {ROOT, ""} & {*renamed, *renamed.values()}:
            expected = ["a dict from paths below the root to other such paths, each once"]
            raise InvalidArgumentError("rename", rename, expected)
        return cls(chosen, _patterns(exclude or ()), renamed)

    def without(self, patterns: Patterns) -> Selection:
        """Return the selection that leaves out these components too."""
        return replace(self, exclude=(*self.exclude, *_patterns(patterns)))

    def wants(self, path: str) -> bool:
        """Say whether the component at this path of the checkpoint is restored."""
        if any(_matches(pattern, path) for pattern in self.exclude):
            return False
        return self.components is None or any(_matches(one, path) for one in self.components)

    def reaches(self, path: str) -> bool:
        """Say whether the component, or one below it, may be restored."""
        if path == ROOT:
            return True
        if any(_matches(pattern, path) for pattern in self.exclude):
            return False
        return self.components is None or any(_leads_to(one, path) for one in self.components)

    def stored(self, path: str) -> str | None:
        """Return the path in the checkpoint of what a component of the object is given.

        It is None where the checkpoint's component of that name goes elsewhere.
        """
        stored = self._old(path)
        return stored if self._new(stored) == path else None

    def target(self, stored: str) -> str | None:
        """Return the path in the object that takes a component of the checkpoint, or None."""
        path = self._new(stored)
        return path if self._old(path) == stored else None

    def _new(self, path: str) -> str:
        return _replaced(path, self.rename)

    def _old(self, path: str) -> str:
        return _replaced(path, {new: old for old, new in self.rename.items()})

    def unmatched(self, paths: Collection[str]) -> list[str]:
        """Return what the caller named and none of the paths has."""
        patterns = [one for one in self.components or () if not _any_matches(one, paths)]
        return patterns + [old for old in self.rename if self.wants(old) and old not in paths]


def _replaced(path: str, names: Mapping[str, str]) -> str:
    for old in sorted(names, key=len, reverse=True):
        if path == old or below(path, old):
            return names[old] + path[len(old) :]
    return path


def _patterns(given: Patterns) -> tuple[str, ...]:
    return tuple(pattern.strip("/") or ROOT for pattern in _listed(given))


def _any_matches(pattern: str, paths: Collection[str]) -> bool:
    return any(_matches(pattern, path) for path in paths)


def _matches(pattern: str, path: str) -> bool:
    """Say whether a pattern matches a path, or one above it."""
    if ROOT in (pattern, path):
        return pattern == path
    return pattern.count("/") <= path.count("/") and _leads_to(pattern, path)


def _leads_to(pattern: str, path: str) -> bool:
    """Say whether a pattern matches a path, as far as both go."""
    pairs = zip(path.split("/"), pattern.split("/"), strict=False)
    return pattern != ROOT and all(fnmatchcase(name, one) for name, one in pairs)
