"""The states of objects: how they are asked for, compared and given, whoever wrote the classes.

Some classes of this package tell more of themselves than RLlib's methods do:

- ``_whole_state()`` and ``_set_own_state(state)``: the state with what users do not see of it, such
  as a Trainable's counters;
- ``_fit_state(stored)``: how a stored state fits, as an adapter's `fit` tells it;
- ``restored_last`` and ``has_fixed_components``: when it is given a state, and whether it may get
  components with it.

What ends in "_there" runs in actors. States go there and come back as bytes: the arrays that Ray
itself brings are read-only.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any

from tune_ckpt.errors import RestoreError, RestoreReport, UnsupportedComponentError
from tune_ckpt.formats import pickle
from tune_ckpt.objects.actors import actors_of
from tune_ckpt.objects.adapters.registry import Fit, Stored, adapter_of
from tune_ckpt.objects.classes import name_of_class
from tune_ckpt.objects.components import components_of, descend, is_checkpointable, is_component
from tune_ckpt.objects.trust import Trust

StateDict = dict[str, Any]


def own_state(value: Any) -> Any:
    """Return an object's state without its subcomponents'.

    Raises:
        UnsupportedComponentError: Nothing tells how.
    """
    if is_checkpointable(value):
        return _own(value, components_of(value))[0]
    adapter = adapter_of(value)
    if adapter is not None:
        return adapter.get_state(value)
    if is_stateful(value):
        return value.get_state()
    raise UnsupportedComponentError(name_of_class(type(value)))


def is_stateful(value: Any) -> bool:
    """Say whether an object has just ``get_state`` and ``set_state``, which is enough in actors."""
    return not is_component(value) and hasattr(value, "get_state") and hasattr(value, "set_state")


def states_of(value: Any, names: Collection[str]) -> tuple[Any, dict[str, Any]]:
    """Return a Checkpointable's own state, and the subcomponents' states as far as it tells them.

    It is asked as RLlib asks: first for all but the subcomponents, then for them.
    """
    own, told = _own(value, names)
    lacking = [name for name in names if name not in told]
    if lacking and _takes(value, "components"):
        told.update(without(_ask(value, components=lacking), lacking)[1])
    return own, told


def _own(value: Any, names: Collection[str]) -> tuple[Any, dict[str, Any]]:
    return without(_ask(value, not_components=list(names)), names)


def without(state: Any, names: Collection[str]) -> tuple[Any, dict[str, Any]]:
    """Return a state without these keys, and what stood under them; it is not changed itself."""
    found = {n: state[n] for n in names if n in state} if isinstance(state, Mapping) else {}
    if not found:
        return state, {}
    rest: Any = copy.copy(state) if isinstance(state, MutableMapping) else dict(state)
    for name in found:
        del rest[name]
    return rest, found


def _ask(value: Any, **which: list[str]) -> Any:
    known = {name: names for name, names in which.items() if _takes(value, name)}
    return _getter(value)(**known)


def _getter(value: Any) -> Any:
    return getattr(value, "_whole_state", None) or value.get_state


def _takes(value: Any, argument: str) -> bool:
    parameters = inspect.signature(_getter(value)).parameters
    more = inspect.Parameter.VAR_KEYWORD
    return argument in parameters or any(one.kind is more for one in parameters.values())


def fit_of(value: Any, stored: Stored) -> Fit:
    """Compare an object with what a checkpoint has for it; the object is not touched.

    Objects in actors are compared there, when they get their state.
    """
    if actors_of(value) is not None:
        return Fit((stored.cls, stored.state, stored.path))
    if hasattr(value, "_fit_state"):
        fit: Fit = value._fit_state(stored)
        return fit
    adapter = adapter_of(value)
    if adapter is None or adapter.fit is None:
        return Fit(stored.state)
    if adapter.of_checkpointables != is_checkpointable(value):
        return Fit(stored.state)  # it has its own idea of a state
    return adapter.fit(value, stored)


def set_state(value: Any, state: Any) -> None:
    """Give an object its own state.

    Raises:
        UnsupportedComponentError: Nothing tells how.
        RestoreError: It does not fit the objects in some actors.
    """
    actors = actors_of(value)
    adapter = None if actors or is_checkpointable(value) else adapter_of(value)
    if actors is not None:
        actors.each(_set_state_there, pickle.dumps(state))
    elif adapter is not None:
        adapter.set_state(value, state)
    elif hasattr(value, "set_state"):
        (getattr(value, "_set_own_state", None) or value.set_state)(state)
    else:
        raise UnsupportedComponentError(name_of_class(type(value)))


def _set_state_there(value: Any, part: str, data: bytes) -> None:
    loaded: Any = pickle.loads(data, file="the loaded state")
    (cls, state, location), target = loaded, descend(value, part)
    fit = fit_of(target, Stored(cls, state, location, Trust(allow_pickle=True)))
    if fit.missing or fit.unexpected or fit.mismatched:
        raise RestoreError(RestoreReport(location, (), fit.missing, fit.unexpected, fit.mismatched))
    set_state(target, fit.state)
