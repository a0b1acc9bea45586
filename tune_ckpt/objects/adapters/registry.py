"""How the state of an object that is no `Checkpointable` is taken and given: the table of adapters.

The most specific class counts. Anything with ``state_dict`` and ``load_state_dict`` needs no entry;
`register_adapter` adds others.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tune_ckpt.errors import Fault, InvalidArgumentError
from tune_ckpt.objects.classes import name_of_class, same_class
from tune_ckpt.objects.trust import Trust

T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """A component of a checkpoint, read.

    Attributes:
        cls: The class that it was saved from, ``module:QualName``.
        state: Its own state.
        path: Where it is, for messages.
        trust: What may be imported for it.
    """

    cls: str
    state: Any
    path: str = ""
    trust: Trust = field(default_factory=Trust)


@dataclass(frozen=True)
class Fit:
    """How a stored state fits an object.

    Attributes:
        state: What of it can be given to the object.
        usable: Whether anything can.
        missing: Paths in the state of what the object has and the state has not.
        unexpected: Paths of what the state has and the object has not.
        mismatched: What both have, but differently.
    """

    state: Any
    usable: bool = True
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Adapter:
    """How the state of one kind of object is taken and given.

    Attributes:
        get_state: Returns an object's state.
        set_state: Puts a state into an object.
        fit: Compares an object with a stored component; the object is not touched. By default,
            everything fits.
        of_checkpointables: Whether the objects are Checkpointable, and only `fit` is used.
    """

    get_state: Callable[[Any], Any]
    set_state: Callable[[Any, Any], object]
    fit: Callable[[Any, Stored], Fit] | None = None
    of_checkpointables: bool = False


def fit_same_class(value: Any, stored: Stored) -> Fit:
    """Fit a state to objects of the class that it was saved from; nothing else tells them apart."""
    state, mine = stored.state, name_of_class(type(value))
    if same_class(mine, stored.cls):
        return Fit(state)
    fault = Fault("", f"{stored.cls} in the checkpoint, {mine} in the object")
    return Fit(state, False, mismatched=(fault,))


STATE_DICT = Adapter(
    get_state=lambda value: value.state_dict(),
    set_state=lambda value, state: value.load_state_dict(state),
    fit=fit_same_class,
)
_BY_TYPE: dict[type, Adapter] = {}

# A backend's adapters are in a module of ours, in ADAPTERS, imported when such an object is met.
_BACKENDS = {
    "torch.nn.modules.module:Module": "torch_objects",
    "torch.optim.optimizer:Optimizer": "torch_objects",
    "torch.utils.data.sampler:Sampler": "torch_objects",
    "torch:Generator": "torch_objects",
    "torch._C:Generator": "torch_objects",
    "ray.rllib.core.rl_module.torch.torch_rl_module:TorchRLModule": "rllib_modules",
    "sklearn.base:BaseEstimator": "sklearn_estimators",
    "xgboost.core:Booster": "xgboost_models",
    "xgboost.sklearn:XGBModel": "xgboost_models",
    "lightgbm.basic:Booster": "lightgbm_models",
    "lightgbm.sklearn:LGBMModel": "lightgbm_models",
}


def register_adapter(
    kind: type[T], get_state: Callable[[T], Any], set_state: Callable[[T, Any], object]
) -> None:
    """Make objects of a type (and its subclasses) usable as components.

    Args:
        kind: The type.
        get_state: Returns an object's state: plain values and arrays.
        set_state: Puts such a state into an object.

    Raises:
        InvalidArgumentError: ``kind`` is no type.
    """
    if not isinstance(kind, type):
        raise InvalidArgumentError("kind", kind, ("a type",))
    _BY_TYPE[kind] = Adapter(get_state, set_state)


def adapter_of(value: Any) -> Adapter | None:
    """Return the adapter for an object, the most specific one first; None where there is none."""
    for kind in type(value).__mro__:
        if kind in _BY_TYPE:
            return _BY_TYPE[kind]
        name = name_of_class(kind)
        if name in _BACKENDS:
            backend = importlib.import_module(f"tune_ckpt.objects.adapters.{_BACKENDS[name]}")
            adapter: Adapter = backend.ADAPTERS[name]
            return adapter
    has_state_dict = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
    return STATE_DICT if has_state_dict else None
