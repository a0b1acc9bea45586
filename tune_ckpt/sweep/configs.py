"""Trials' configs as short text: what is not the same in all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Config = Mapping[str, Any]


def telling_keys(configs: Sequence[Config]) -> list[str]:
    """Return the keys whose values differ among configs; of a single config, all."""
    keys = dict.fromkeys(key for config in configs for key in config)
    differing = [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]
    return differing or [*keys]


def config_text(config: Config, keys: Sequence[str]) -> str:
    """Return what a config says under some keys, short: ``lr=0.001, width=64``."""
    return ", ".join(_pairs(config, keys))


def _pairs(config: Config, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        if key in config:
            value = config[key]
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
            yield f"{shortened(key.rpartition('/')[2], 14)}={shortened(text, 12)}"


def cut(text: str, length: int) -> str:
    """Return a text, its end left out where it is too long."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shortened(text: str, length: int) -> str:
    """Return a text, its middle left out where it is too long."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[-(length - 1 - head) :]}"
