"""States as RLlib's msgpack can hold them: what it lacks is said in other words, or marked.

================================  ================================================================
in the state                      in msgpack
================================  ================================================================
deque, tuple, set                 list
tuples as keys (metrics' paths)   their parts joined by ``--``, as RLlib does since Ray 2.41
a filter's running statistics     by the names that they have in newer Ray
an optimizer's numbered state     the numbers as text, there and in its parameter groups
a class                           its import name, as RLlib writes it
an object with fields             the dict of its fields, as RLlib writes dataclasses
a space                           the dict that RLlib has for it; noted where an environment gets it
bytes that are a pickle of code   nothing (None); noted as not carried
functions, any other object       RLlib's mark ``__not_serializable__``; noted as not carried
================================  ================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from tune_ckpt.errors import CorruptDataError, Fault, UnsupportedStateError
from tune_ckpt.formats.parts import label
from tune_ckpt.formats.pickle import Opaque, list_globals
from tune_ckpt.rllib.reading.generations import POLICY_SPEC
from tune_ckpt.rllib.reading.member_kinds import spec_fields
from tune_ckpt.rllib.reading.plain import code_name, fields, of_type, plain
from tune_ckpt.rllib.reading.spaces import is_space, space_of

NOT_SERIALIZABLE = "__not_serializable__"  # RLlib's own mark

_FUNCTIONS = {"policy_mapping_fn", "policies_to_train", "is_policy_to_train"}
_STATISTICS_OF_RAY_1 = {"_n": "num_pushes", "_M": "mean_array", "_S": "std_array"}
_OLD_STATISTICS = {*_STATISTICS_OF_RAY_1.values()}
_OPTIMIZER = {"state", "param_groups"}


class Carrying:
    """Puts states into what msgpack can hold, and notes what could not be carried.

    Args:
        file: What to call the states' file in messages.
        text_keys: Whether keys must be text, as RLlib's readers of the old API stack want it.

    Attributes:
        lost: What was not carried, by its path.
    """

    def __init__(self, file: str, *, text_keys: bool = False) -> None:
        self._file, self._text_keys = file, text_keys
        self.lost: list[Fault] = []

    def state(self, value: Any, *steps: Any) -> Any:
        """Return a value as msgpack can hold it; the old one is not changed.

        Args:
            value: The value, read inertly.
            steps: Where it stands in the state.
        """
        if isinstance(value, np.dtype):
            return value.str
        make = of_type(_KINDS, value)
        return value if make is None else make(self, value, steps)

    def mark(self, steps: tuple[Any, ...], what: str) -> str:
        """Note that something was not carried, and return the mark that stands in its place."""
        self.lost.append(Fault("/".join(map(label, steps)), f"{what} was not carried"))
        return NOT_SERIALIZABLE

    def _dict(self, value: dict[Any, Any], steps: tuple[Any, ...]) -> dict[Any, Any]:
        if self._text_keys and value.keys() >= _OPTIMIZER:
            value = _numbers_as_text(value)
        value = newest_statistics(value)
        made = {self._key(key): self.state(item, *steps, key) for key, item in value.items()}
        if len(made) != len(value):
            path = "/".join(map(label, steps))
            raise UnsupportedStateError((Fault(path, "two of its keys become the same text"),))
        return made

    def _key(self, key: Any) -> Any:
        if isinstance(key, tuple):
            return "--".join(map(str, key))
        return _text(key) if self._text_keys else key

    def _sequence(self, value: Any, steps: tuple[Any, ...]) -> list[Any]:
        return [self.state(item, *steps, number) for number, item in enumerate(value)]

    def _set(self, value: Any, steps: tuple[Any, ...]) -> list[Any]:
        return self._sequence(sorted(value, key=repr), steps)

    def _opaque(self, value: Opaque, steps: tuple[Any, ...]) -> Any:
        name = code_name(value)
        if name is not None:
            return self.mark(steps, f"the code of {name}")
        if value.args is None:
            if steps and steps[-1] in _FUNCTIONS:
                return self.mark(steps, f"the function {value.module}:{value.name}")
            return f"{value.module}.{value.name}"
        if value.name == "PolicySpec":
            spec = spec_fields(value)
            return [self.state(spec.get(name), *steps, name) for name in POLICY_SPEC]
        if is_space(value):
            if steps[:2] == ("config", "env_config"):
                self.lost.append(Fault("/".join(map(label, steps)), _NO_SPACE))
            return self.state(space_of(value, self._file), *steps)
        found, made = fields(value), plain(value, self._file)
        if isinstance(made, Opaque):
            return self.mark(steps, f"an object of {value.module}:{value.name}")
        return self.state(found if isinstance(made, dict) and found is not None else made, *steps)

    def _bytes(self, value: bytes, steps: tuple[Any, ...]) -> bytes | None:
        # Connectors of the old stack keep what they remember of an episode like this.
        if is_pickle_of_code(value, self._file):
            self.mark(steps, "a pickle with code in it")
            return None
        return value

    def _class(self, value: type, steps: tuple[Any, ...]) -> str:
        return f"{value.__module__}.{value.__qualname__}"

    def _other(self, value: Any, steps: tuple[Any, ...]) -> str:
        return self.mark(steps, f"an object of {type(value).__name__}")


_NO_SPACE = (
    "it is a dict that tells of the space now, and the environment gets that: pass one that makes "
    "the space itself"
)


_KINDS: dict[type, Callable[[Carrying, Any, tuple[Any, ...]], Any]] = {
    dict: Carrying._dict,
    list: Carrying._sequence,
    tuple: Carrying._sequence,
    deque: Carrying._sequence,
    set: Carrying._set,
    frozenset: Carrying._set,
    bytes: Carrying._bytes,
    Opaque: Carrying._opaque,
    type: Carrying._class,
    np.random.Generator: Carrying._other,
    np.random.RandomState: Carrying._other,
}


def is_pickle_of_code(data: bytes, file: str) -> bool:
    """Say whether some bytes are a pickle with code in it."""
    if not (data[:1] == b"\x80" and data[-1:] == b"."):
        return False
    try:
        return any("cloudpickle" in name for name in list_globals(data, file=file))
    except CorruptDataError:
        return False  # bytes that only look like one


def filter_fields(stored: Any) -> dict[Any, Any]:
    """Return the fields of a filter of observations, by the names of today, if it has any."""
    return {_FIELDS_OF_RAY_1.get(key, key): item for key, item in (fields(stored) or {}).items()}


_FIELDS_OF_RAY_1 = {"rs": "running_stats"}


def newest_statistics(old: dict[Any, Any]) -> dict[Any, Any]:
    """Return an old filter's statistics by the names of today; any other dict as it is."""
    if old.keys() >= _STATISTICS_OF_RAY_1.keys():
        old = {_STATISTICS_OF_RAY_1.get(key, key): item for key, item in old.items()}
    if not old.keys() >= _OLD_STATISTICS:
        return old
    # The old name was wrong: it always was the sum of squared differences. What was pushed since
    # the workers last shared theirs, the delta, was not kept apart.
    squares = old["std_array"]
    rest = {key: value for key, value in old.items() if key != "std_array"}
    deltas = {"num_pushes_delta": old["num_pushes"], "mean_delta_array": old["mean_array"]}
    return {**rest, **deltas, "sum_sq_diff_array": squares, "sum_sq_diff_delta_array": squares}


def with_newest_statistics(value: Any) -> Any:
    """Return a state with the statistics of all filters in it by the names of today."""
    if isinstance(value, dict):
        return newest_statistics({key: with_newest_statistics(v) for key, v in value.items()})
    if type(value) in (list, tuple):
        return type(value)(map(with_newest_statistics, value))
    return value


def _numbers_as_text(optimizer: dict[Any, Any]) -> dict[Any, Any]:
    # The groups tell torch which number is which parameter, so any names will do, there and here.
    groups = optimizer["param_groups"]
    is_list = isinstance(groups, list | tuple)
    return {**optimizer, "param_groups": [*map(_group, groups)]} if is_list else optimizer


def _group(group: Any) -> Any:
    params = group.get("params") if isinstance(group, dict) else None
    if not isinstance(params, list | tuple):
        return group
    return {**group, "params": [_text(number) for number in params]}


def _text(key: Any) -> Any:
    return str(key) if isinstance(key, int) else key
