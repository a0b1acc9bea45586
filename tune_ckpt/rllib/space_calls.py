"""Observation and action spaces to be made again: as calls of Gymnasium's classes, and as JSON."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.pickling import Call
from tune_ckpt.rllib.spaces import Space

_RLLIB = "ray.rllib.utils.spaces"

_CLASSES = {
    "box": "gymnasium.spaces:Box",
    "discrete": "gymnasium.spaces:Discrete",
    "multi-discrete": "gymnasium.spaces:MultiDiscrete",
    "multi-binary": "gymnasium.spaces:MultiBinary",
    "dict": "gymnasium.spaces:Dict",
    "tuple": "gymnasium.spaces:Tuple",
    "text": "gymnasium.spaces:Text",
    "sequence": "gymnasium.spaces:Sequence",
    "simplex": f"{_RLLIB}.simplex:Simplex",
    "repeated": f"{_RLLIB}.repeated:Repeated",
}
_CALLED = {"dtype": np.dtype}


def space_call(space: Space | None) -> Call | None:
    """Return the call that makes a space, of what `space_of` tells of it.

    Raises:
        KeyError: It is of a kind that is not known.
    """
    if space is None:
        return None
    told = {key: item for key, item in space.items() if key not in ("space", "original_space")}
    made = {key: _argument(key, item) for key, item in told.items()}
    return Call(Reference(_CLASSES[space["space"]]), (), made)


def _argument(key: str, value: Any) -> Any:
    if key == "dtype":
        return np.dtype(value)
    if isinstance(value, dict) and "space" in value:
        return space_call(value)
    if isinstance(value, dict):
        items = [(name, _argument("", item)) for name, item in value.items()]
        return Call(Reference("collections:OrderedDict"), (items,))  # in this order
    return [_argument("", item) for item in value] if isinstance(value, list) else value


def space_json(space: Space | None) -> dict[str, Any] | None:
    """Return a space as RLlib's ``gym_space_to_dict`` tells it, of what `space_of` tells of it."""
    if space is None:
        return None
    told = {key: item for key, item in space.items() if key != "original_space"}
    return {key: _JSON.get(key, _as_it_is)(item) for key, item in told.items()}


def policy_space(space: Space | None) -> dict[str, Any] | None:
    """Return a space as RLlib's ``space_to_dict``, for the specification of a policy."""
    if space is None:
        return None
    told: dict[str, Any] = {"space": space_json(space)}
    if "original_space" in space:
        told["original_space"] = space_json(space["original_space"])
    return told


def _as_it_is(value: Any) -> Any:
    return space_json(value) if isinstance(value, dict) and "space" in value else value


def _text(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    stream = io.BytesIO()
    np.save(stream, value)
    return base64.b64encode(zlib.compress(stream.getvalue())).decode("ascii")


def _spaces(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: space_json(space) for name, space in value.items()}
    return [space_json(space) for space in value]


_JSON: dict[str, Callable[[Any], Any]] = {
    "low": _text,
    "high": _text,
    "nvec": _text,
    "dtype": lambda value: np.dtype(value).str,
    "spaces": _spaces,
}
