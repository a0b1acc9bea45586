"""Observation and action spaces as plain data, from Gym's and Gymnasium's objects and RLlib's JSON.

A space is a dict in RLlib's own words (``gym_space_to_dict``), but with arrays where that has text:
``{"space": "box", "low": array, "high": array, "shape": (4,), "dtype": "float32"}``.
"""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tune_ckpt.errors import CorruptDataError, NotInCheckpointError
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.rllib.reading.member_kinds import Member
from tune_ckpt.rllib.reading.members import of_each
from tune_ckpt.rllib.reading.plain import fields, plain

OBSERVATIONS, ACTIONS = "observation_space", "action_space"
_MODULES = ("gym.spaces.", "gymnasium.spaces.", "ray.rllib.utils.spaces.")
Space = dict[str, Any]
Spaces = dict[str, Space | None]


def load_spaces(
    checkpoint: Any, policy_id: str | None = None, *, filesystem: Any = None
) -> Spaces | dict[str, Spaces]:
    """Return a checkpoint's observation and action spaces, as plain data.

    One policy's (or module's) are ``{"observation_space": ..., "action_space": ...}``, several
    policies' are that by their ids, as in `load_weights`.

    Args:
        checkpoint: A folder or file, as for `load_weights`.
        policy_id: The policy or RLModule whose spaces are wanted.
        filesystem: A ``pyarrow.fs.FileSystem`` in which the path is to be looked up.

    Returns:
        The spaces, each a dict that begins with ``"space"``, its kind: ``box``, ``discrete``,
        ``multi-discrete``, ``multi-binary``, ``dict``, ``tuple``, ``text``, ...

    Raises:
        NotACheckpointError: RLlib wrote nothing like it.
        NotInCheckpointError: It does not tell its spaces, as many of version 0.1 do not.
        ComponentNotFoundError: It has no policy or module of that id.
        CorruptDataError, CorruptCheckpointError: It is damaged.
    """
    spaces: Spaces | dict[str, Spaces]
    spaces = of_each(checkpoint, policy_id, filesystem, "spaces", spaces_of)
    return spaces


def spaces_of(member: Member) -> Spaces:
    """Return the spaces of one policy or module.

    Raises:
        NotInCheckpointError: They are not told.
        CorruptDataError: They are damaged.
    """
    told = {name: member.spec.get(name) for name in (OBSERVATIONS, ACTIONS)}
    if not any(told.values()):
        reason = "nothing in it tells them; they are those of its environment"
        raise NotInCheckpointError(member.path, "spaces", reason)
    return {name: space_of(space, member.path) for name, space in told.items()}


def is_space(value: Opaque) -> bool:
    """Say whether an object is a space, by its class's module."""
    return value.module.startswith(_MODULES)


def space_of(space: Any, file: str) -> Space | None:
    """Return a space as plain data.

    Args:
        space: The space as it was read inertly; None for none.
        file: What to call its file in messages.

    Raises:
        CorruptDataError: It is damaged.
    """
    if space is None:
        return None
    try:
        found = _of_object(space) if isinstance(space, Opaque) else _of_json(space)
    except (*_MALFORMED, RecursionError) as error:
        raise CorruptDataError(file, f"it holds a malformed space ({error!r})") from error
    return {name: plain(value, file) for name, value in found.items()}


_MALFORMED = (
    *(AttributeError, KeyError, OverflowError, TypeError, ValueError),
    *(binascii.Error, zlib.error, EOFError),
)

# ---------------------------------------------------------------------------- RLlib's own dicts


def _of_json(told: Any) -> Space:
    if isinstance(told["space"], dict):  # space_to_dict: with the space before preprocessing
        found = _of_json(told["space"])
        if isinstance(told.get("original_space"), dict):
            found["original_space"] = _of_json(told["original_space"])
        return found
    return {name: _JSON.get(name, _as_it_is)(value) for name, value in told.items()}


def _as_it_is(value: Any) -> Any:
    if isinstance(value, dict) and "space" in value:  # a FlexDict's own
        return _of_json(value)
    return value


def decoded_array(value: Any) -> Any:
    """Return an array from the text that RLlib makes of one; any other value as it is."""
    if not isinstance(value, str):
        return value
    data = zlib.decompress(base64.b64decode(value))
    return np.load(io.BytesIO(data), allow_pickle=False)


def _spaces(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _of_json(space) for name, space in value.items()}
    return [_of_json(space) for space in value]


_JSON: dict[str, Callable[[Any], Any]] = {
    "low": decoded_array,
    "high": decoded_array,
    "nvec": decoded_array,
    "concentration": decoded_array,
    "shape": lambda value: tuple(value),
    "dtype": lambda value: str(np.dtype(value)),
    "spaces": _spaces,
    "child_space": _of_json,
    "charset": lambda value: "".join(sorted(value)),
}

# ------------------------------------------------------------------------- the spaces' own objects


def _of_object(space: Opaque) -> Space:
    name = space.name.rpartition(".")[2]
    state = dict(fields(space) or {})
    make = _OBJECTS.get(name)
    if make is None:  # of the user's own, or of a newer Gymnasium
        told = {key: _nested(value) for key, value in state.items() if key not in _UNTOLD}
        return {"space": name.lower(), **told}
    found = make(state)
    if isinstance(state.get("original_space"), Opaque):
        found["original_space"] = _of_object(state["original_space"])
    return found


_UNTOLD = {"_np_random", "np_random"}


def _box(state: Space) -> Space:
    bounds = {"low": state["low"], "high": state["high"]}
    return {"space": "box", **bounds, "shape": _shape(state), "dtype": _dtype(state)}


def _shape(state: Space) -> tuple[int, ...]:
    shape: Any = state["_shape"] if "_shape" in state else state["shape"]
    return tuple(shape)


def _dtype(state: Space) -> str:
    return str(np.dtype(state["dtype"]))


def _discrete(state: Space) -> Space:
    return {"space": "discrete", "n": int(state["n"]), "start": int(state.get("start", 0))}


def _multi_binary(state: Space) -> Space:
    return {"space": "multi-binary", "n": _number(state["n"])}


def _number(value: Any) -> Any:
    return int(value) if np.ndim(value) == 0 else tuple(int(size) for size in value)


def _multi_discrete(state: Space) -> Space:
    start = {"start": state["start"]} if np.any(state.get("start", 0)) else {}
    return {"space": "multi-discrete", "nvec": state["nvec"], **start, "dtype": _dtype(state)}


def _composite(kind: str) -> Callable[[Space], Space]:
    return lambda state: {"space": kind, "spaces": _nested(state["spaces"])}


def _nested(value: Any) -> Any:
    if isinstance(value, Opaque) and fields(value) is not None:
        return _of_object(value)
    if isinstance(value, dict):
        return {name: _nested(item) for name, item in value.items()}
    return [_nested(item) for item in value] if isinstance(value, list | tuple) else value


def _text(state: Space) -> Space:
    characters = next((state[name] for name in _CHARACTERS if name in state), "")
    charset = "".join(sorted(characters))
    lengths = {name: int(state[name]) for name in ("min_length", "max_length")}
    return {"space": "text", **lengths, "charset": charset}


_CHARACTERS = ("_char_str", "_char_list", "_char_set", "_charset")


def _simplex(state: Space) -> Space:
    told = {"shape": _shape(state), "concentration": state["concentration"]}
    return {"space": "simplex", **told, "dtype": _dtype(state)}


def _repeated(state: Space) -> Space:
    child = _nested(state["child_space"])
    return {"space": "repeated", "child_space": child, "max_len": int(state["max_len"])}


_OBJECTS: dict[str, Callable[[Space], Space]] = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiBinary": _multi_binary,
    "MultiDiscrete": _multi_discrete,
    "Dict": _composite("dict"),
    "Tuple": _composite("tuple"),
    "Text": _text,
    "Simplex": _simplex,
    "Repeated": _repeated,
}
