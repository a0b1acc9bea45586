"""Numbers that RLlib's msgpack of the old API stack has as text: an optimizer's parameters.

They are keys of its state, and its groups list them. When such a file is compared with a pickle,
both are to name the same thing alike. Where a dict has both number and text, these are two keys.
"""

from __future__ import annotations

from collections.abc import Container

from tune_ckpt.tree.inspection.found import Found, Key, Value
from tune_ckpt.tree.inspection.inspecting import Inspected

Entries = dict[Key, tuple[str, Found]]


def may_be_text(first: Inspected, second: Inspected) -> bool:
    """Say whether one of two components is RLlib's msgpack, and the other one is a pickle."""
    formats = {first.format, second.format}
    rllibs = (part.format for part in (first, second) if part.digest is None)
    return formats == {"msgpack", "pickle"} and "msgpack" in rllibs


def alike(entries: Entries, others: Container[Key]) -> Entries:
    """Return what is in a component with numbers as text, where the other one has not the numbers.

    Args:
        entries: What is in the component.
        others: The keys of the other one.
    """
    return {
        key if key in others else _with_text(key, entries): (path, _as_text(key, found))
        for key, (path, found) in entries.items()
    }


def _with_text(key: Key, entries: Container[Key]) -> Key:
    steps = list(key)
    for place, step in enumerate(key):
        match step:
            case ("int", int(number)) if (*key[:place], str(number)) not in entries:
                steps[place] = str(number)
    return tuple(steps)


def _as_text(key: Key, found: Found) -> Found:
    if not (isinstance(found, Value) and type(found.value) is int):
        return found
    is_listed = key[-4:-3] == ("param_groups",) and key[-2:-1] == ("params",)
    return Value(str(found.value)) if is_listed else found
