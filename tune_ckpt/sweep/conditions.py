"""``where=``: which checkpoints of a sweep count, as a function or as values of the config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tune_ckpt.errors import InvalidArgumentError, listed
from tune_ckpt.sweep.configs import Config, flat
from tune_ckpt.sweep.metrics import Metric, nearest_first
from tune_ckpt.sweep.records import CheckpointRecord

Where = Callable[[CheckpointRecord], bool] | Mapping[str, Any]

_MOST = 12  # values, or names, that a message lists


def check_where(where: Any) -> None:
    """Refuse what is neither a function nor a dict of values by name.

    Raises:
        InvalidArgumentError: It is neither.
    """
    is_dict = isinstance(where, Mapping) and all(isinstance(n, str) and n for n in where)
    if where is not None and not callable(where) and not is_dict:
        expected = ("a function of the record", "a dict of values that the config must have")
        raise InvalidArgumentError("where", where, expected)


def fits(record: CheckpointRecord, where: Where) -> bool:
    """Say whether a checkpoint counts.

    Raises:
        InvalidArgumentError: A function asks for what the record has not.
    """
    if isinstance(where, Mapping):
        return all(_has(record.config, name, value) for name, value in where.items())
    try:
        return bool(where(record))
    except (KeyError, AttributeError, TypeError) as error:  # as of record["lr"]
        raise InvalidArgumentError("where", where, [_what_it_has(record, error)]) from error


def _has(config: Config, name: str, value: Any) -> bool:
    found = Metric(name).find(config)
    if isinstance(found, np.ndarray) or isinstance(value, np.ndarray):
        return np.array_equal(found, value)
    return bool(found == value)


def _what_it_has(record: CheckpointRecord, error: Exception) -> str:
    wanted = str(error.args[0]) if error.args else ""
    known = {"config": record.config, "metrics": record.metrics}
    lists = [
        f"record.{name} has {listed(nearest_first(wanted, map(str, keys)), _MOST, 'nothing')}"
        for name, keys in known.items()
    ]
    what = f"{type(error).__name__}: {error}"
    return f"a function that does not raise {what}, as at {record.path}, where {'; '.join(lists)}"


def check_names(where: Where | None, configs: Sequence[Config]) -> None:
    """Refuse names that no trial's config has: nothing would ever fit them.

    Raises:
        InvalidArgumentError: There is such a name; those that there are, are listed.
    """
    for name in where if isinstance(where, Mapping) and any(configs) else ():
        if all(Metric(name).find(config) is None for config in configs):
            known = {name for config in configs for name in flat(config)}
            raise InvalidArgumentError("where", name, nearest_first(name, known))


def values_there_are(where: Where | None, configs: Sequence[Config]) -> list[str]:
    """Return a line for each value that no checkpoint's config has: what there is instead."""
    lines = []
    for name, value in where.items() if isinstance(where, Mapping) else ():
        if not any(_has(config, name, value) for config in configs):
            there = dict.fromkeys(repr(Metric(name).find(config)) for config in configs)
            told = listed([*there], _MOST)
            lines.append(f"no {name} is {value!r}; there are: {told}")
    return lines
