"""Filters of observations in checkpoints of the new API stack: made again, or told of as lost.

There a filter is a connector, which a function in the configuration makes. That is code, and not
carried; but the pipeline that it made tells its connectors by class and arguments, and the filter's
statistics are in its own folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tune_ckpt.errors import Fault
from tune_ckpt.formats.references import Reference
from tune_ckpt.rllib.converting.moves import class_name, moved
from tune_ckpt.rllib.converting.pickling import Call
from tune_ckpt.rllib.converting.restating import LOST, Restating
from tune_ckpt.rllib.inference.filters import find_filter
from tune_ckpt.rllib.reading.connectors import (
    Connector,
    in_place_of_preprocessors,
    is_own,
    read_connectors,
)
from tune_ckpt.rllib.reading.finding import Part
from tune_ckpt.rllib.reading.generations import POLICY
from tune_ckpt.rllib.reading.members import members

CONNECTORS = "_env_to_module_connector"  # the setting
NOT_NORMALISED = (
    "the filter of observations and its statistics were not carried: observations are no longer "
    "normalised for the policy, which was trained with such ones"
)
_MADE_BY_US = (
    "the function itself was not carried: tune_ckpt makes the connectors that it made ({}), and "
    "must be installed where the checkpoint is loaded; or pass it in config="
)
_FLATTENED_BY_US = (
    "workers of the old API stack flattened observations: tune_ckpt makes a connector that does it "
    "({}), and must be installed where the checkpoint is loaded; or pass one in config="
)


def with_connectors(config: dict[str, Any], part: Part, restating: Restating) -> dict[str, Any]:
    """Return a configuration that makes the connectors whose function was not carried.

    Also the one that a hybrid's observations need now.

    Args:
        config: The configuration, by Ray 2.60's keys.
        part: The Algorithm in the checkpoint.
        restating: Has the note on the function, and takes those on connectors.
    """
    path = f"config/{CONNECTORS}"
    is_lost = any(note.path == path for note in restating.notes)
    chosen = [one for one in read_connectors(part) if is_lost and not is_own(one[0])]
    why = _MADE_BY_US if chosen else _FLATTENED_BY_US
    chosen = chosen or in_place_of_preprocessors(part)
    made = [told for one in chosen if (told := _connector(one, restating)) is not None]
    if not made:
        return config
    names = ", ".join(class_name(cls) for cls, _, _ in made)
    others = [note for note in restating.notes if note.path != path]
    restating.notes[:] = [*others, Fault(path, why.format(names))]
    return {**config, CONNECTORS: Call(Reference("tune_ckpt.rllib.former:Connectors"), (*made,))}


def _connector(stored: Connector, restating: Restating) -> tuple[Any, Any, Any] | None:
    name, args, kwargs = stored
    steps = ("config", CONNECTORS, class_name(name))
    cls = restating.named(Reference(moved(name)), steps)
    told = restating.value(tuple(args), *steps), restating.value(dict(kwargs), *steps)
    return None if cls is LOST else (cls, *told)


def lost_filters(part: Part) -> Iterator[Fault]:
    """Yield a note on each policy's or module's filter, where the new checkpoint has none.

    Args:
        part: The Algorithm, or a policy of its.
    """
    for name, member in members(part).items():
        found, absent = find_filter(part, member, name)
        if found is not None or any(text.startswith("the filter") for text in absent):
            below = "" if part.type == POLICY else f"/{name}"
            yield Fault(f"observation_filter{below}", NOT_NORMALISED)
