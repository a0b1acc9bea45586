"""What old Ray's pickles say, in words that Ray 2.60 understands: classes and states.

What cannot be said any more is left out, and noted. Nothing is imported: classes stay names.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tune_ckpt.errors import Fault
from tune_ckpt.formats.parts import label
from tune_ckpt.formats.pickle import Opaque
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.moves import can_be_found, is_local, reference
from tune_ckpt.rllib.converting.pickled_spaces import space_object
from tune_ckpt.rllib.converting.pickling import Call, Instance
from tune_ckpt.rllib.converting.portable import (
    filter_fields,
    is_pickle_of_code,
    newest_statistics,
)
from tune_ckpt.rllib.reading.plain import code_name, fields, of_type
from tune_ckpt.rllib.reading.spaces import is_space, space_of

Steps = tuple[Any, ...]


class Lost:
    """What stands for a value that cannot be carried, until its container leaves it out."""


LOST = Lost()
CONFIG = "AlgorithmConfig"  # and every class of such a name
_FILTER = "ray.rllib.utils.filter"


class Restating:
    """Puts values that were read inertly into what `tune_ckpt.rllib.converting.pickling` writes.

    Args:
        file: What to call their file in messages.

    Attributes:
        notes: What could not be carried, by its path.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.notes: list[Fault] = []

    def value(self, value: Any, *steps: Any) -> Any:
        """Return a value restated, or `LOST`; the old one is not changed.

        Args:
            value: The value, read inertly.
            steps: Where it stands.
        """
        make = of_type(_KINDS, value)
        return value if make is None else make(self, value, steps)

    def note(self, steps: Iterable[Any], reason: str) -> Lost:
        """Note that something was not carried."""
        self.notes.append(Fault("/".join(map(label, steps)), reason))
        return LOST

    def named(self, name: Reference, steps: Steps) -> Reference | Lost:
        """Return a class or function by its present name, or note that there is none here."""
        if is_local(name):
            return self.note(steps, f"the code of {name.name} is not in the checkpoint")
        if not can_be_found(name):
            return self.note(steps, f"{name.name} cannot be imported here")
        return name

    def _dict(self, value: dict[Any, Any], steps: Steps) -> dict[Any, Any]:
        told = newest_statistics(value)
        made = [(self.value(k, *steps, k), self.value(v, *steps, k)) for k, v in told.items()]
        kept = copy.copy(told)  # of the same kind: a defaultdict has its default
        kept.clear()
        kept.update({key: item for key, item in made if key is not LOST and item is not LOST})
        return kept

    def _items(self, value: Iterable[Any], steps: Steps) -> list[Any]:
        made = [self.value(item, *steps, number) for number, item in enumerate(value)]
        return [item for item in made if item is not LOST]

    def _tuple(self, value: tuple[Any, ...], steps: Steps) -> tuple[Any, ...]:
        return tuple(self._items(value, steps))

    def _set(self, value: Any, steps: Steps) -> Any:
        return type(value)(self._items(value, steps))

    def _deque(self, value: deque[Any], steps: Steps) -> deque[Any]:
        return deque(self._items(value, steps), value.maxlen)

    def _reference(self, value: Reference, steps: Steps) -> Any:
        return self.named(reference(value) or value, steps)

    def _opaque(self, value: Opaque, steps: Steps) -> Any:
        name = code_name(value)
        if name is not None:
            return self.note(steps, f"the code of {name} was not carried")
        if value.args is None:
            return self._reference(Reference(f"{value.module}:{value.name}"), steps)
        if is_space(value):
            return space_object(space_of(value, self.file))
        is_config = value.module.startswith("ray.rllib.") and value.name.endswith("Config")
        make = OBJECTS.get(value.name, OBJECTS.get(CONFIG, _other) if is_config else _other)
        return make(self, value, steps)

    def _bytes(self, value: bytes, steps: Steps) -> bytes | None:
        # Connectors keep what they remember of an episode like this; no new episode needs it.
        return None if is_pickle_of_code(value, self.file) else value

    def _generator(self, value: Any, steps: Steps) -> None:
        return None  # of a space; it is seeded anew


_KINDS: dict[type, Callable[[Restating, Any, Steps], Any]] = {
    dict: Restating._dict,
    list: Restating._items,
    tuple: Restating._tuple,
    set: Restating._set,
    frozenset: Restating._set,
    deque: Restating._deque,
    bytes: Restating._bytes,
    Reference: Restating._reference,
    Opaque: Restating._opaque,
    np.random.Generator: Restating._generator,
    np.random.RandomState: Restating._generator,
}

# ------------------------------------------------------------------------------------ objects


def _other(restating: Restating, value: Opaque, steps: Steps) -> Any:
    if value.pairs:  # a kind of dict
        return restating.value(dict(value.pairs), *steps)
    match value:
        case Opaque(args=(str() | int() as member,), state=None) if not value.kwargs:
            return member  # of an enum
    return restating.note(steps, f"an object of {value.module}:{value.name} was not carried")


def _same_filter_class(restating: Restating, value: Opaque, steps: Steps) -> Instance:
    state = restating.value(fields(value) or {}, *steps)
    return Instance(Reference(f"{_FILTER}:{value.name}"), state)


def _mean_std_filter(restating: Restating, value: Opaque, steps: Steps) -> Instance:
    state = filter_fields(value)
    state.setdefault("no_preprocessor", state.get("shape") is None)
    return Instance(Reference(f"{_FILTER}:MeanStdFilter"), restating.value(state, *steps))


def _called(name: str) -> Callable[[Restating, Opaque, Steps], Any]:
    """Make dataclasses by their constructor, which knows of fields that are new."""

    def make(restating: Restating, value: Opaque, steps: Steps) -> Call:
        """Return a call of today's class with the old one's fields."""
        told = restating.value({**(fields(value) or {})}, *steps)
        # A field's old name is there as well, and empty: it says nothing of the new one's value.
        old = {new: told[key] for key, new in _OLD_FIELDS.items() if told.get(key) is not None}
        rest = {key: item for key, item in told.items() if key not in _OLD_FIELDS}
        return Call(Reference(name), (), {**rest, **old})

    return make


_OLD_FIELDS = {
    "model_config_dict": "model_config",
    "module_specs": "rl_module_specs",
    "marl_module_class": "multi_rl_module_class",
}
_SPEC_CLASS = "ray.rllib.core.rl_module.rl_module:RLModuleSpec"
_SPECS_CLASS = "ray.rllib.core.rl_module.multi_rl_module:MultiRLModuleSpec"


def _fields(restating: Restating, value: Opaque, steps: Steps) -> Any:
    return restating.value(fields(value) or {}, *steps)


# By the names of their classes; `tune_ckpt.rllib.converting.config_values` adds configurations and
# the specifications of policies, which have some.
OBJECTS: dict[str, Callable[[Restating, Opaque, Steps], Any]] = {
    "DefaultModelConfig": _fields,
    "RLModuleSpec": _called(_SPEC_CLASS),
    "SingleAgentRLModuleSpec": _called(_SPEC_CLASS),
    "MultiRLModuleSpec": _called(_SPECS_CLASS),
    "MultiAgentRLModuleSpec": _called(_SPECS_CLASS),
    "MeanStdFilter": _mean_std_filter,
    "ConcurrentMeanStdFilter": _mean_std_filter,
    "NoFilter": _same_filter_class,
    "RunningStat": _same_filter_class,
}
