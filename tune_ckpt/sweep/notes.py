"""What could not be read of a sweep: it is left out, and that is told."""

from __future__ import annotations


class Notes:
    """One line for each thing that was left out, in order, none twice."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines."""
        return tuple(self._lines)

    def add(self, line: str) -> None:
        """Note something."""
        self._lines[line] = None

    def unreadable(self, path: str, problem: object) -> None:
        """Note a file that cannot be read, or not all of it."""
        self.add(f"{path} cannot be read: {problem}")

    def clear(self) -> None:
        """Forget all, before the next look."""
        self._lines.clear()
