"""The version of a checkpoint's layout, as a number."""

from __future__ import annotations

import re


class CheckpointVersion(str):
    """A version such as ``1.1``: it is text, and compares as a number does.

    It compares with others of its kind, with text, and with ``packaging.version.Version``, which is
    what RLlib's own ``get_checkpoint_info`` returns: code that was written for that goes on
    working, and neither Ray nor ``packaging`` is needed for it. JSON takes it as it is.
    """

    __slots__ = ()

    @property
    def major(self) -> int:
        """The number before the dot."""
        return _numbers(self)[0]

    @property
    def minor(self) -> int:
        """The number behind the dot."""
        return (*_numbers(self), 0)[1]

    def __eq__(self, other: object) -> bool:
        return _numbers(self) == _numbers(other)

    def __ne__(self, other: object) -> bool:
        return _numbers(self) != _numbers(other)

    def __lt__(self, other: object) -> bool:
        return _numbers(self) < _numbers(other)

    def __le__(self, other: object) -> bool:
        return _numbers(self) <= _numbers(other)

    def __gt__(self, other: object) -> bool:
        return _numbers(self) > _numbers(other)

    def __ge__(self, other: object) -> bool:
        return _numbers(self) >= _numbers(other)

    __hash__ = str.__hash__


def _numbers(version: object) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", str(version))))
