"""Arguments that would fail only in the middle of a sweep, refused before it begins."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from tune_ckpt.errors import InvalidArgumentError
from tune_ckpt.sweep.metrics import number


def check_count(name: str, count: Any, least: int) -> None:
    """Refuse what is no whole number, or too small a one.

    Raises:
        InvalidArgumentError: It is so.
    """
    if not is_whole(count) or count < least:
        raise InvalidArgumentError(name, count, (f"a whole number, {least} or more",))


def check_secs(name: str, secs: Any) -> None:
    """Refuse what is no time to wait; it may be infinite.

    Raises:
        InvalidArgumentError: It is so.
    """
    found = None if isinstance(secs, bool) else number(secs)
    if found is None or found < 0:
        raise InvalidArgumentError(name, secs, ("a number of seconds, 0 or more",))


def check_truth(name: str, value: Any) -> None:
    """Refuse what is neither True nor False, such as the text "no", which counts as true.

    Raises:
        InvalidArgumentError: It is so.
    """
    if not isinstance(value, bool):
        raise InvalidArgumentError(name, value, (True, False))


def is_whole(value: Any) -> bool:
    """Say whether something is a whole number, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)
