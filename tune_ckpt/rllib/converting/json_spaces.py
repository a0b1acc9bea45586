"""Observation and action spaces as RLlib's JSON: so the specifications of policies have them."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tune_ckpt.rllib.reading.spaces import Space


def space_to_dict(space: Space | None) -> dict[str, Any] | None:
    """Return what RLlib's function of that name returns of a space.

    Args:
        space: What `space_of` tells of it.
    """
    if space is None:
        return None
    told: dict[str, Any] = {"space": _json(space)}
    if "original_space" in space:
        told["original_space"] = {"space": _json(space["original_space"])}
    return told


def _json(space: Space) -> dict[str, Any]:
    told = {key: item for key, item in space.items() if key != "original_space"}
    return {key: _JSON.get(key, _as_it_is)(item) for key, item in told.items()}


def _as_it_is(value: Any) -> Any:
    return _json(value) if isinstance(value, dict) and "space" in value else value


def _text(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    stream = io.BytesIO()
    np.save(stream, value)
    return base64.b64encode(zlib.compress(stream.getvalue())).decode("ascii")


def _spaces(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json(space) for name, space in value.items()}
    return [_json(space) for space in value]


_JSON: dict[str, Callable[[Any], Any]] = {
    "low": _text,
    "high": _text,
    "nvec": _text,
    "dtype": lambda value: np.dtype(value).str,
    "spaces": _spaces,
}
