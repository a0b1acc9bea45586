"""Metrics and configs as JSON can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_Held = bool | int | float | str


def plain(value: Any) -> Any:
    """Return what JSON can hold of a value: text stands for the rest."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    value = _of_python(value)
    return value if isinstance(value, _Held | None) else repr(value)


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a result what metrics can be: numbers, text, truth values, and dicts of these."""
    found = {str(key): _metric(value) for key, value in metrics.items()}
    return {key: value for key, value in found.items() if value is not None}


def _metric(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_metrics(value)
    value = _of_python(value)
    return value if isinstance(value, _Held) else None


def _of_python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
