"""Trials' configs as Tune notes them: JSON, and in it pickles of what JSON cannot hold.

A trial's ``params.json`` has Python's numbers and lists in the place of NumPy's, and text in that
of objects. It is newer, for a scheduler may change a config; the experiment state tells the types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tune_ckpt.errors import TuneCkptError
from tune_ckpt.formats import pickle

_UNREADABLE = pickle.Opaque("pickle", "damaged")


def decoded(value: Any) -> Any:
    """Return a noted config with what its pickles hold, read inertly."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("_type") != "CLOUDPICKLE_FALLBACK":
        return {name: decoded(item) for name, item in value.items()}
    try:
        return pickle.loads_inert(bytes.fromhex(value["value"]), file="a trial's config")
    except (KeyError, TypeError, ValueError, TuneCkptError):
        return _UNREADABLE


def with_types(value: Any, noted: Any) -> Any:
    """Return a config read from JSON, with the values that were noted in the place of their text.

    Args:
        value: The config.
        noted: It as it was noted, `decoded`, perhaps before a scheduler changed it.
    """
    if isinstance(value, dict) and isinstance(noted, dict):
        return {name: with_types(item, noted.get(name)) for name, item in value.items()}
    if isinstance(value, list) and isinstance(noted, list) and len(value) == len(noted):
        return list(map(with_types, value, noted))
    if isinstance(noted, _JSON) or pickle.holds_opaque(noted):
        return value
    in_json = noted.tolist() if hasattr(noted, "tolist") else str(noted)
    return noted if in_json == value else value


_JSON: Any = dict | list | str | int | bool | None


def lost_objects(config: Any, noted: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names, ``a/b`` for nested ones, of values that are text in the place of objects."""
    if isinstance(config, Mapping) and isinstance(noted, Mapping):
        for name, value in config.items():
            yield from lost_objects(value, noted.get(name), f"{prefix}/{name}" if prefix else name)
    elif isinstance(config, list) and isinstance(noted, list):
        for each in zip(config, noted, strict=False):
            yield from lost_objects(*each, prefix)
    elif isinstance(config, str) and pickle.holds_opaque(noted):
        yield prefix
