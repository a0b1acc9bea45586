"""A policy of the old API stack, or an RLModule of the new one: what a checkpoint tells of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from tune_ckpt.errors import CorruptDataError
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import POLICY_SPEC
from tune_ckpt.rllib.reading.plain import fields, stored_name


class Member(Protocol):
    """A policy or an RLModule."""

    @property
    def path(self) -> str:
        """The file that its state is in."""

    @property
    def weights(self) -> Any:
        """Its weights as they are stored; None where there are none."""

    @property
    def spec(self) -> dict[Any, Any]:
        """What it was made with: its class, spaces and configuration, as far as that is told."""

    @property
    def cls(self) -> str:
        """Its class's name; empty where nothing names it."""


@dataclass(frozen=True)
class Policy:
    """A policy of the old API stack.

    Attributes:
        path: The file that its state is in.
        read: Returns the state.
        told: What the Algorithm's state tells of it.
        part: Its folder; None where it is in the Algorithm's one file.
    """

    path: str
    read: Callable[[], Any]
    told: Any = None
    part: Part | None = None

    @cached_property
    def state(self) -> dict[Any, Any]:
        """Its state.

        Raises:
            CorruptDataError: It is none of a policy.
        """
        state = self.read()
        if not isinstance(state, dict):
            raise CorruptDataError(self.path, f"a policy's state is no {type(state).__name__}")
        return state

    @property
    def weights(self) -> Any:
        """Its weights; the oldest Ray has nothing but them as the state."""
        return self.state.get("weights", self.state)

    @property
    def spec(self) -> dict[Any, Any]:
        """Its PolicySpec's fields."""
        return spec_fields(self.state.get("policy_spec", self.told))

    @property
    def cls(self) -> str:
        """Its class's name; only the last part of it, where RLlib can find the rest."""
        return stored_name(self.spec.get("policy_class"))

    @property
    def has_module(self) -> bool:
        """Whether its weights are an RLModule's, as they may be in Ray 2.5 to 2.30.

        A model of the user's may have the same names; then the configuration says no.
        """
        if not isinstance(self.weights, dict):
            return False
        config = fields(self.spec.get("config")) or {}
        told = [config[key] for key in _FLAGS_OF_MODULES if key in config]
        may_be = True in told or not told
        return may_be and any(str(name).startswith("encoder.") for name in self.weights)


_FLAGS_OF_MODULES = (
    *("_enable_rl_module_api", "_enable_learner_api", "_enable_new_api_stack"),
    "enable_rl_module_and_learner",
)


@dataclass(frozen=True)
class Module:
    """An RLModule of the new API stack.

    Attributes:
        part: Its folder.
    """

    part: Part

    @property
    def path(self) -> str:
        """The file that its state is in."""
        return self.part.state_path

    @property
    def weights(self) -> Any:
        """Its state, which is its weights."""
        state = self.part.state
        return without_numbers(state) if isinstance(state, dict) else state

    @cached_property
    def spec(self) -> dict[Any, Any]:
        """Its constructor's arguments, or what the metadata of 1.2 tell."""
        told = self.part.metadata.get("module_spec_dict")
        if isinstance(told, dict):
            return {**told, **(fields(told.get("module_config")) or {})}
        args, kwargs = arguments(self.part)
        return next((found for arg in args if (found := fields(arg))), {}) | kwargs

    @cached_property
    def cls(self) -> str:
        """Its class's name, from the metadata in 1.2."""
        has_ctor = self.part.folder.ctor is not None
        return stored_name(self.spec.get("module_class")) or (
            self.part.folder.cls if has_ctor else ""
        )

    @property
    def model_config(self) -> Any:
        """Its model's configuration as it was read, by whatever name it has."""
        return self.spec.get("model_config") or self.spec.get("model_config_dict") or {}


def without_numbers(state: dict[Any, Any]) -> dict[Any, Any]:
    """Return a module's state with arrays where RLlib has numbers: those of no dimensions."""
    return {
        name: _DTYPES[type(value)](value) if type(value) in _DTYPES else value
        for name, value in state.items()
    }


# torch's own, which RLlib's state does not tell.
_DTYPES: dict[type, Callable[[Any], Any]] = {
    float: np.float32,
    int: np.int64,
    bool: np.bool_,
}


def spec_fields(spec: Any) -> dict[Any, Any]:
    """Return a PolicySpec's fields by their names; in Ray 1 it is a tuple, in msgpack a list."""
    values = getattr(spec, "args", spec)
    if isinstance(values, tuple | list) and len(values) == len(POLICY_SPEC):
        return dict(zip(POLICY_SPEC, values, strict=True))
    return fields(spec) or {}


def arguments(part: Part) -> tuple[tuple[Any, ...], dict[Any, Any]]:
    """Return the constructor arguments of a component, inertly; nothing where it has none."""
    stored = part.ctor.get("ctor_args_and_kwargs") if isinstance(part.ctor, dict) else None
    if not isinstance(stored, tuple | list) or len(stored) != 2:
        return (), {}
    args, kwargs = stored
    return tuple(args), fields(kwargs) or {}
