"""Who saves which part of a checkpoint, where several workers give parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WORKERS = "workers"  # the metadata field: which ranks gave a part that not all did


@dataclass(frozen=True)
class Shares:
    """What each worker gives, by rank: its parts' names, and whether each is an object.

    A part belongs to the lowest rank that gives it.
    """

    given: Mapping[int, Mapping[str, bool]]

    def names(self, rank: int, *, objects: bool) -> list[str]:
        """Return the names of the objects, or of the plain values, that a worker is to save."""
        own = self.given[rank].items()
        return [name for name, kind in own if kind is objects and self._owner(name) == rank]

    def _owner(self, name: str) -> int:
        return min(rank for rank, names in self.given.items() if name in names)

    @property
    def committer(self) -> int | None:
        """The worker that commits; None where there is nothing to save."""
        return min((rank for rank, names in self.given.items() if names), default=None)

    def savers(self, *, objects: bool) -> list[int]:
        """Return the workers that save objects, or plain values."""
        return [rank for rank in self.given if self.names(rank, objects=objects)]

    def some_only(self) -> dict[str, list[int]]:
        """Return the parts that not all workers give, with the ranks that do."""
        names = {name: None for given in self.given.values() for name in given}
        ranks = {name: [r for r, given in self.given.items() if name in given] for name in names}
        return {name: found for name, found in ranks.items() if len(found) < len(self.given)}
