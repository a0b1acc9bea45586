"""Trials' configs as short text: what is not the same in all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Config = Mapping[str, Any]

_NAME = 14  # characters; of a longer one its end is shown


def telling_keys(configs: Sequence[Config]) -> list[str]:
    """Return the keys, ``a/b`` for nested ones, whose values differ; of a single config, all."""
    all_flat = [*map(flat, configs)]
    values: dict[str, set[str]] = {key: set() for config in all_flat for key in config}
    for config in all_flat:
        for key, found in values.items():
            found.add(repr(config.get(key)))
    return [key for key, found in values.items() if len(found) > 1] or [*values]


def config_text(config: Config, keys: Sequence[str]) -> str:
    """Return what a config says under some keys, short: ``lr=0.001, width=64``."""
    return ", ".join(_pairs(flat(config), keys))


def flat(config: Config, prefix: str = "") -> dict[str, Any]:
    """Return a config without dicts in it: its keys are names, ``a/b`` for nested ones."""
    entries: dict[str, Any] = {}
    for name, value in config.items():
        inner = isinstance(value, Mapping) and value
        entries |= flat(value, f"{prefix}{name}/") if inner else {f"{prefix}{name}": value}
    return entries


def _pairs(config: Config, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        if key in config:
            value = config[key]
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
            name = key if len(key) <= _NAME else shortened(key.rpartition("/")[2], _NAME)
            yield f"{name}={shortened(text, 12)}"


def cut(text: str, length: int) -> str:
    """Return a text, its end left out where it is too long."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shortened(text: str, length: int) -> str:
    """Return a text, its middle left out where it is too long."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[-(length - 1 - head) :]}"
