"""What the caller says of a configuration: keys that replace stored ones, or all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tune_ckpt.errors import Fault, InvalidArgumentError, UnsupportedStateError
from tune_ckpt.formats import pickle
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.algorithms import (
    ALGORITHMS,
    REMOVED_ALGORITHMS,
    Algorithm,
    OwnAlgorithm,
    algorithm_name,
)
from tune_ckpt.rllib.converting.config_keys import known_settings, like, newest
from tune_ckpt.rllib.converting.moves import can_be_found, class_name, is_local, moved
from tune_ckpt.rllib.converting.pickling import Call
from tune_ckpt.rllib.reading.plain import fields, stored_name, with_colon

_PLAIN = (type(None), bool, int, float, str, bytes, np.ndarray, np.generic, Reference)


@dataclass(frozen=True)
class Given:
    """What the caller says.

    Attributes:
        keys: Settings, by Ray 2.60's keys.
        is_whole: Whether they are all there are, and nothing stored counts.
        algorithm: The name of the algorithm, where the caller's configuration is one's own.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    is_whole: bool = False
    algorithm: str | None = None

    def with_env(self, env: Any) -> Given:
        """Return the same with an environment; None changes nothing."""
        return self if env is None else replace(self, keys={**self.keys, "env": env})

    def algorithm_for(self, cls: Any, config: Any = None) -> Algorithm:
        """Return the algorithm that a checkpoint is to be one of.

        Args:
            cls: The class that is stored.
            config: The configuration that is stored.

        Raises:
            UnsupportedStateError: Ray 2.60 has none of that name, and it is none of the user's own
                that can be imported here.
            InvalidArgumentError: The caller's configuration is another algorithm's.
        """
        stored = algorithm_name(class_name(cls))
        name = self.algorithm or stored
        if name != stored and stored in ALGORITHMS:
            raise InvalidArgumentError("config", f"{name}Config", (f"{stored}Config", "a dict"))
        if name not in ALGORITHMS and self.algorithm is None and _is_own(stored_name(cls)):
            told = config.get("class") if isinstance(config, dict) else config
            config_class = moved(stored_name(told)) if isinstance(told, Opaque) else ""
            return OwnAlgorithm(with_colon(stored_name(cls)), config_class=config_class)
        if name not in ALGORITHMS:
            raise UnsupportedStateError((Fault("algorithm_class", _why_not(name)),), advice="")
        return ALGORITHMS[name]

    def others(self, stored: Any) -> dict[Any, Any]:
        """Return the stored settings of which the caller says nothing."""
        if self.is_whole:
            return {}
        told = fields(stored) or {}
        return {key: item for key, item in told.items() if newest(str(key)) not in self.keys}

    def unknown_to(self, stored: Any) -> list[Fault]:
        """Return a note on each setting of the caller's that a stored configuration has not.

        It may be one that is new, or a mistyped one.
        """
        known = known_settings(stored)
        if self.is_whole or not known:
            return []
        unknown = sorted(map(str, self.keys.keys() - known))
        return [Fault(f"config/{key}", _UNKNOWN.format(like(key, known))) for key in unknown]


_UNKNOWN = "it is no setting of the stored configuration{}; it was written as it was given"


def _is_own(name: str) -> bool:
    """Say whether a class is the user's own, and can be imported here."""
    if not name:
        return False
    cls = Reference(with_colon(name))
    is_named = ":" in cls.name and not name.startswith(_OF_RLLIB)
    return is_named and can_be_found(cls) and not is_local(cls)


_OF_RLLIB = ("ray.rllib.algorithms.", "ray.rllib.agents.", "ray.rllib.contrib.")


def _why_not(name: str) -> str:
    if name in REMOVED_ALGORITHMS:
        return (
            f"Ray has no {name} since {REMOVED_ALGORITHMS[name]}; load_weights reads its weights. "
            "Its policies can become another algorithm's: pass that one's configuration as config="
        )
    why = f"Ray has no algorithm of the name {name!r}" if name else "nothing names the algorithm"
    return f"{why}; pass the configuration of one as config="


def given(config: Any = None, env: Any = None) -> Given:
    """Return what a caller says of a configuration.

    Args:
        config: Settings to replace stored ones: a dict, or an AlgorithmConfig for all of them.
        env: The environment.

    Raises:
        InvalidArgumentError: The configuration is none.
    """
    named = {} if env is None else {"env": env}
    if config is None or isinstance(config, Mapping):
        return Given({newest(key): value for key, value in {**(config or {}), **named}.items()})
    if not hasattr(config, "get_state"):
        raise InvalidArgumentError("config", config, ("a dict", "an AlgorithmConfig"))
    state = {**config.get_state(), **named}
    cls = state.pop("class", type(config))
    names = (algorithm_name(base.__name__) for base in cls.__mro__)
    return Given(state, is_whole=True, algorithm=next((n for n in names if n in ALGORITHMS), None))


def embedded(value: Any) -> Any:
    """Return a value of the caller's as `pickling` writes it, code and all."""
    if type(value) is dict:
        return {key: embedded(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(embedded(item) for item in value)
    if isinstance(value, _PLAIN):
        return value
    return Call(Reference("pickle:loads"), (pickle.dumps(value),))
