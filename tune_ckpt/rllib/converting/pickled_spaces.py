"""Observation and action spaces as Gymnasium pickles them, whatever Gym or Gymnasium wrote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tune_ckpt.errors import Fault, UnsupportedStateError
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.pickling import Call, Instance
from tune_ckpt.rllib.reading.spaces import Space


def space_object(space: Space | None) -> Instance | Call | None:
    """Return what makes a space when it is unpickled.

    Args:
        space: What `space_of` tells of it.

    Raises:
        UnsupportedStateError: It is of a kind that is not known.
    """
    if space is None:
        return None
    told = {key: item for key, item in space.items() if key != "space"}
    original = space_object(told.pop("original_space", None))
    kind = space["space"]
    if kind in _CALLED:
        return Call(Reference(_CALLED[kind]), (), _arguments(told))
    if kind not in _OBJECTS:
        reason = f"spaces of the kind {kind!r} cannot be written again"
        raise UnsupportedStateError((Fault("", reason),))
    cls, state = _OBJECTS[kind]
    extra = {} if original is None else {"original_space": original}
    return Instance(Reference(f"gymnasium.spaces.{cls}"), {**state(told), **_UNSEEDED, **extra})


_UNSEEDED = {"_np_random": None}


def _box(told: Space) -> dict[str, Any]:
    low, high = told["low"], told["high"]
    bounded = {"bounded_below": -np.inf < low, "bounded_above": np.inf > high}
    dtype = np.dtype(told["dtype"])
    return {"dtype": dtype, "_shape": tuple(told["shape"]), "low": low, "high": high, **bounded}


def _discrete(told: Space) -> dict[str, Any]:
    numbers = {name: np.int64(told.get(name, 0)) for name in ("n", "start")}
    return {"dtype": np.dtype(np.int64), **numbers, "_shape": ()}


def _multi_discrete(told: Space) -> dict[str, Any]:
    dtype = np.dtype(told["dtype"])
    sizes = np.asarray(told["nvec"], dtype)
    start = np.asarray(told.get("start", np.zeros_like(sizes)), dtype)
    return {"dtype": dtype, "nvec": sizes, "start": start, "_shape": sizes.shape}


def _multi_binary(told: Space) -> dict[str, Any]:
    n = told["n"]
    shape = (n,) if isinstance(n, int) else tuple(n)
    return {"n": n, "_shape": shape, "dtype": np.dtype(np.int8)}


def _dict(told: Space) -> dict[str, Any]:
    spaces = {name: space_object(space) for name, space in told["spaces"].items()}
    return {"spaces": spaces, "_shape": None, "dtype": None}


def _tuple(told: Space) -> dict[str, Any]:
    return {"spaces": tuple(map(space_object, told["spaces"])), "_shape": None, "dtype": None}


_OBJECTS: dict[str, tuple[str, Callable[[Space], dict[str, Any]]]] = {
    "box": ("box:Box", _box),
    "discrete": ("discrete:Discrete", _discrete),
    "multi-discrete": ("multi_discrete:MultiDiscrete", _multi_discrete),
    "multi-binary": ("multi_binary:MultiBinary", _multi_binary),
    "dict": ("dict:Dict", _dict),
    "tuple": ("tuple:Tuple", _tuple),
}

# Rare ones, by their constructors.
_CALLED = {
    "text": "gymnasium.spaces:Text",
    "sequence": "gymnasium.spaces:Sequence",
    "graph": "gymnasium.spaces:Graph",
    "simplex": "ray.rllib.utils.spaces.simplex:Simplex",
    "repeated": "ray.rllib.utils.spaces.repeated:Repeated",
}
_OPTIONAL = ("dtype", "shape")  # None where a space has none, which no constructor has to be told
_NAMES = {"feature_space": "space"}  # of attributes and of the constructors' arguments


def _arguments(told: Space) -> dict[str, Any]:
    named = {_NAMES.get(key, key): item for key, item in told.items() if key[:1] != "_"}
    untold = {key for key in _OPTIONAL if named.get(key) is None}
    return {key: _argument(key, item) for key, item in named.items() if key not in untold}


def _argument(key: str, value: Any) -> Any:
    if key == "dtype":
        return np.dtype(value)
    return space_object(value) if isinstance(value, dict) and "space" in value else value
