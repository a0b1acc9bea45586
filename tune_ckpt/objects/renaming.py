"""Classes that have moved: from the names that checkpoints have for them to those of today."""

from __future__ import annotations

from tune_ckpt.errors import InvalidArgumentError

_RENAMED: dict[str, str] = {}


def register_renamed(old: str, new: str) -> None:
    """Tell where a class is now that checkpoints know by an older name.

    Nothing is imported for it: the class is found under its new name as it would be if it had been
    saved under that one.

    Args:
        old: Its name in checkpoints, ``module:QualName``.
        new: Its name today; itself an old one if it has moved more than once.

    Raises:
        InvalidArgumentError: One is no such name, or the names lead back to where they started.
    """
    for argument, name in {"old": old, "new": new}.items():
        if not all(name.partition(":")):
            raise InvalidArgumentError(argument, name, ["module:QualName"])
    if current_name(new) == old:
        raise InvalidArgumentError("new", new, [f"a name that does not lead back to {old}"])
    _RENAMED[old] = new


def current_name(name: str) -> str:
    """Return the name that a class has today."""
    while name in _RENAMED:
        name = _RENAMED[name]
    return name
