"""Code in pickles: functions and classes by value, which crash any Python but their own.

A Python's bytecode has no version in a pickle. What was written by another is loaded without an
error, and ends the process when it is called.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable

_MAKERS = (":_make_function", ":CodeType")  # cloudpickle's, for a function by value


def holds_code(names: Iterable[str]) -> bool:
    """Say whether a pickle holds code.

    Args:
        names: What it would import (see `tune_ckpt.formats.pickle.list_globals`).
    """
    return any(name.endswith(_MAKERS) for name in names)


def minor_of(version: object) -> str | None:
    """Return the part of a Python's version that its bytecode depends on: of ``3.11.7``, ``3.11``.

    >>> minor_of(None) is None
    True
    """
    return ".".join(version.split(".")[:2]) if isinstance(version, str) else None


def here() -> str:
    """Return the same of this Python."""
    return str(minor_of(platform.python_version()))


def told(versions: Iterable[str]) -> str:
    """Return why code of other Pythons is not loaded, for an error."""
    return f"it holds code of Python {', '.join(sorted(versions))}, and this is {here()}"
