"""Which names can be files and folders, side by side, on every disk and object store."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from tune_ckpt.errors import InvalidNameError

_LONGEST_NBYTES = 200  # what is left of the usual 255 is for what temporary names add
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def objection(name: object) -> str | None:
    """Return what speaks against a name, as the rest of a sentence; None where nothing does."""
    if not isinstance(name, str):
        return "it is not text"
    if not name or name[0] == "." or name[-1] == "." or name != name.strip():
        return "it is empty, or begins or ends with a dot or a space"
    if any(character in '/\\:*?"<>|' or ord(character) < 32 for character in name):
        return 'it holds one of / \\ : * ? " < > | or a control character'
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "it is not valid Unicode"
    if len(name.encode()) > _LONGEST_NBYTES:
        return f"it is longer than {_LONGEST_NBYTES} bytes"
    if _RESERVED.fullmatch(name):
        return "Windows keeps that name for a device"
    return None


def check_side_by_side(names: Iterable[tuple[str, str]]) -> None:
    """Check that names can stand in one folder.

    Args:
        names: Each with what it names, for messages.

    Raises:
        InvalidNameError: One cannot, or some disk takes two of them for the same.
    """
    taken: dict[str, str] = {}
    for name, what in names:
        reason = objection(name)
        if reason is None and (other := taken.get(_folded(name))):
            reason = f"some disks cannot tell it from {other}"
        if reason:
            raise InvalidNameError(str(name), reason)
        taken[_folded(name)] = what


def _folded(name: str) -> str:
    """Return what a name has in common with those that some disk takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
